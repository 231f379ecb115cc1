"""MEt3R (Asim et al. 2025) through its authors' package, where that is installed with CUDA and PyTorch3D."""

from __future__ import annotations

import hashlib
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fourreal.evaluation.networks.frames import Frames, middle_of_frames

SIDE_PX = 256


class MEt3R:
    """How unlike the features of two views are where both see the same surface: 0 is consistent.

    The package brings its own weights (MASt3R, DINO with FeatUp); their sha256 is that of all parameters and buffers.
    """

    def __init__(self, device: str) -> None:
        from met3r import MEt3R as Published

        self.network: Any = Published(img_size=SIDE_PX).to(device).eval()
        self.device = device
        self.sha256 = {f"met3r {_version()}": _digest(self.network)}

    @torch.no_grad()
    def __call__(self, one: Frames, other: Frames) -> npt.NDArray[np.float32]:
        """uint8 `[H, W, 3]` twice to the score, float32 `[1]`: shorter side resized to 256, the middle cut out."""
        frames = middle_of_frames(np.stack([one, other]), SIDE_PX, (SIDE_PX, SIDE_PX))
        images = torch.from_numpy(frames).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
        score, *_ = self.network(images=images.to(self.device))
        return np.asarray(score.float().cpu().numpy()).reshape(1)


def _version() -> str:
    try:
        return metadata.version("met3r")
    except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        return "unversioned"


def _digest(network: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted([*network.named_parameters(), *network.named_buffers()]):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
