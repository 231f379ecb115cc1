"""The Gaussians of every time in one compact file, for viewers that know nothing of deformation fields.

Safetensors, with little-endian integers over ranges that the metadata name: for each Gaussian 4 bytes (colour,
opacity) and at each time 13 more (mean, scales, quaternion), where a `.ply` has 68. The page of `fourreal view` draws
it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load, save

from fourreal.evaluation.reconstruction.fit import FittedScene, time_of
from fourreal.evaluation.reconstruction.gaussians import Gaussians
from fourreal.evaluation.reconstruction.observations import Observations

HEADER = "fourreal.sequence"
_FAINT = 2.0 / 255
"""Gaussians that never reach this opacity are left out: they change no pixel by more than that."""


def dump_sequence(scene: FittedScene, observations: Observations, times: int) -> bytes:
    """Tensors for N Gaussians and T times, and the cameras that saw them.

    means uint16 [T, N, 3] over `low` to `high`, log_scales uint8 [T, N, 3] over `scale_low` to `scale_high`,
    quaternions int8 [T, N, 4] (127: 1), colours uint8 [N, 4] (sRGB, opacity), environment uint8 [rows, columns, 3].
    """
    seen = torch.sigmoid(scene.gaussians.opacity_logits) > _FAINT
    moments = [scene.at(time_of(t, times))[seen] for t in range(times)]
    means = np.stack([g.means.cpu().numpy() for g in moments])
    scales = np.stack([g.log_scales.cpu().numpy() for g in moments])
    low, high = means.min(axis=(0, 1)), means.max(axis=(0, 1))
    turns = np.stack([torch.nn.functional.normalize(g.quaternions, dim=1).cpu().numpy() for g in moments])
    still = scene.gaussians[seen]
    colours = torch.cat([still.colours, torch.sigmoid(still.opacity_logits)[:, None]], dim=1).cpu().numpy()
    environment = scene.environment.picture.detach()[0].permute(1, 2, 0).cpu().numpy()
    room = observations.room()
    facts: dict[str, Any] = {
        "count": int(means.shape[1]),
        "times": times,
        "low": low.tolist(),
        "high": high.tolist(),
        "scale_low": float(scales.min()),
        "scale_high": float(scales.max()),
        "environment": environment.shape[:2],
        "target": room.centre.tolist(),
        "up": up_of(observations).tolist(),
        "height": observations.frames.shape[2],
        "width": observations.frames.shape[3],
        "intrinsics": [camera.intrinsics.tolist() for camera in observations.cameras],
        "poses": [camera.world_to_camera.tolist() for camera in observations.cameras],
    }
    tensors = {
        "means": _levels(means, low, high, np.uint16),
        "log_scales": _levels(scales, scales.min(), scales.max(), np.uint8),
        "quaternions": np.round(127 * turns).astype(np.int8),
        "colours": _levels(colours, 0.0, 1.0, np.uint8),
        "environment": _levels(environment, 0.0, 1.0, np.uint8),
    }
    return bytes(save(tensors, {HEADER: json.dumps(facts)}))


def read_sequence(data: bytes) -> tuple[Sequence[Gaussians], dict[str, Any]]:
    """The Gaussians at each time, and what the metadata tell: what a viewer makes of the file."""
    length = int.from_bytes(data[:8], "little")
    facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER])
    tensors = load(data)
    low, high = (np.asarray(facts[name], np.float32) for name in ("low", "high"))
    means = low + tensors["means"].astype(np.float32) / 65535 * (high - low)
    span = facts["scale_high"] - facts["scale_low"]
    scales = facts["scale_low"] + tensors["log_scales"].astype(np.float32) / 255 * span
    colours = torch.from_numpy(tensors["colours"].astype(np.float32) / 255)
    return [
        Gaussians(
            means=torch.from_numpy(means[t]),
            log_scales=torch.from_numpy(scales[t]),
            quaternions=torch.from_numpy(tensors["quaternions"][t].astype(np.float32)),
            opacity_logits=torch.logit(colours[:, 3], eps=1e-6),
            colours=colours[:, :3],
        )
        for t in range(facts["times"])
    ], facts


def up_of(observations: Observations) -> npt.NDArray[np.float64]:
    """The direction [3] that no camera rolls about: square to every camera's right, up in the pictures."""
    rotations = np.stack([camera.world_to_camera[:3, :3].double().cpu().numpy() for camera in observations.cameras])
    upwards = -rotations[:, 1].mean(axis=0)
    _, sizes, axes = np.linalg.svd(rotations[:, 0])
    # Cameras that all look the same way leave a plane of choices.
    up = axes[2] if sizes.shape[0] > 1 and sizes[1] > 1e-3 else upwards
    up = up * np.sign(up @ upwards or 1.0)
    return np.asarray(up / np.linalg.norm(up))


def _levels(values: npt.NDArray[Any], low: Any, high: Any, kind: type[np.unsignedinteger[Any]]) -> npt.NDArray[Any]:
    share = (values - low) / np.maximum(np.asarray(high) - np.asarray(low), 1e-12)
    # Contiguous: safetensors writes the bytes as they lie in memory.
    return np.ascontiguousarray(np.round(np.clip(share, 0, 1) * np.iinfo(kind).max).astype(kind))
