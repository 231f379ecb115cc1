"""The stages of 4Real-Video (arXiv 2412.04462) and 4Real-Video-V2 (arXiv 2506.18839), each in three sizes.

What the papers say is kept in size `paper`: resolutions, 8x8 grids, 600 M parameters, 20,000 and 3,000 steps of the
grid stage, V2's mixture, batch of 96, 4,000 steps and learning rate. Where they are silent the numbers are ours: the
steps of the base model (the paper gives 12 days on 24 A100), all learning rates but V2's, the upsampler's size and
steps. `small` is for one machine with 8 GPUs; `tiny` tries everything on two cores and learns nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Scale = Literal["tiny", "small", "paper"]


@dataclass(frozen=True)
class _Numbers:
    """What the size of a recipe decides."""

    model: str
    frames: int
    """Views and times."""
    workers: int
    base_steps: tuple[int, int]
    """At 36x64 and at 72x128."""
    base_batches: tuple[int, int]
    """Sequences of one worker."""
    grid_steps: tuple[int, int, int]
    """On pseudo-4D, on Objaverse, and of V2."""
    grid_batch: int
    """Grids of one worker."""
    upsampler: str
    upsampler_size: tuple[int, int]
    upsampler_steps: int
    lr: float
    warmup_steps: int
    checkpoints_every: int
    ema_decay: float


_NUMBERS: dict[Scale, _Numbers] = {
    "tiny": _Numbers(
        model="nano", frames=4, workers=2, base_steps=(20, 8), base_batches=(2, 2), grid_steps=(6, 4, 6), grid_batch=1,
        upsampler="nano", upsampler_size=(72, 128), upsampler_steps=8, lr=2e-3, warmup_steps=2, checkpoints_every=10,
        ema_decay=0.9,
    ),
    "small": _Numbers(
        model="small", frames=8, workers=8, base_steps=(60_000, 20_000), base_batches=(32, 8),
        grid_steps=(8_000, 1_200, 2_000), grid_batch=4, upsampler="tiny", upsampler_size=(288, 512),
        upsampler_steps=20_000, lr=3e-4, warmup_steps=1_000, checkpoints_every=500, ema_decay=0.999,
    ),
    "paper": _Numbers(
        model="large", frames=8, workers=24, base_steps=(400_000, 200_000), base_batches=(32, 8),
        grid_steps=(20_000, 3_000, 4_000), grid_batch=4, upsampler="base", upsampler_size=(288, 512),
        upsampler_steps=100_000, lr=1e-4, warmup_steps=1_000, checkpoints_every=1_000, ema_decay=0.9999,
    ),
}  # fmt: skip


def _shared(scale: Scale) -> dict[str, Any]:
    numbers = _NUMBERS[scale]
    return {
        "views": numbers.frames,
        "times": numbers.frames,
        "workers": numbers.workers,
        "optimizer": {"lr": numbers.lr, "warmup_steps": numbers.warmup_steps, "ema_decay": numbers.ema_decay},
        "engine": {"zero_stage": 2},
        "checkpoints": {"every": numbers.checkpoints_every},
    }


def base_36x64(scale: Scale) -> dict[str, Any]:
    """Base video model at 36x64: fixed-view and freeze-time videos, random frames given."""
    numbers = _NUMBERS[scale]
    model = {"size": numbers.model, "height": 36, "width": 64, "patch_size": 4}
    sizes = {"steps": numbers.base_steps[0], "batch_size": numbers.base_batches[0]}
    return {**_shared(scale), "stage": "base", "model": model, **sizes}


def base_72x128(scale: Scale) -> dict[str, Any]:
    """The same model, goes on at 72x128."""
    numbers = _NUMBERS[scale]
    sizes = {"steps": numbers.base_steps[1], "batch_size": numbers.base_batches[1]}
    start = {"start_from": f"{scale}-base-36x64", "model": {"height": 72, "width": 128}}
    return {**_shared(scale), "stage": "base", **start, **sizes}


def grid_pseudo4d(scale: Scale) -> dict[str, Any]:
    """Grid model, soft synchronization alone, on pseudo-4D grids (`fourreal synthesize`)."""
    fit = {"start_from": f"{scale}-base-72x128", "model": {"architecture": "soft", "train": "sync-only"}}
    return {**_grid(scale, 0), **fit}


def grid_objaverse(scale: Scale) -> dict[str, Any]:
    """The same model, goes on for a short while on rendered assets: longer hurts real scenes."""
    return {**_grid(scale, 1), "start_from": f"{scale}-grid-pseudo4d", "model": {"train": "sync-only"}}


def grid_v2(scale: Scale) -> dict[str, Any]:
    """V2's grid model: fused attention, self-attention trained, a mixture of four folders.

    The folders of --data are, in this order, rendered assets, Kubric, transformed videos and static scenes. The last
    are given no frames, or the model would learn to copy.
    """
    fit = {"start_from": f"{scale}-base-72x128", "model": {"architecture": "fused", "train": "self-attention"}}
    mixture = {"weights": (0.4, 0.2, 0.2, 0.2), "condition_drop": (0.0, 0.0, 0.0, 1.0)}
    lr = _NUMBERS[scale].lr if scale == "tiny" else 1e-4
    fields = _grid(scale, 2)
    augment = {"reverse_views": 0.5}
    return {**fields, **fit, "optimizer": {**fields["optimizer"], "lr": lr}, "mixture": mixture, "augment": augment}


def upsampler(scale: Scale) -> dict[str, Any]:
    """Upsampler, 72x128 to 288x512, on fixed-view videos at that size (tiny: 18x32 to 72x128)."""
    numbers = _NUMBERS[scale]
    height, width = numbers.upsampler_size
    model = {"size": numbers.upsampler, "height": height, "width": width, "patch_size": 8, "upscale": 4}
    sizes = {"steps": numbers.upsampler_steps, "batch_size": 1}
    return {**_shared(scale), "stage": "upsampler", "model": model, **sizes}


def _grid(scale: Scale, part: int) -> dict[str, Any]:
    numbers = _NUMBERS[scale]
    sizes = {"steps": numbers.grid_steps[part], "batch_size": numbers.grid_batch}
    return {**_shared(scale), "stage": "grid", **sizes}


STAGES: dict[str, Callable[[Scale], dict[str, Any]]] = {
    "base-36x64": base_36x64,
    "base-72x128": base_72x128,
    "grid-pseudo4d": grid_pseudo4d,
    "grid-objaverse": grid_objaverse,
    "grid-v2": grid_v2,
    "upsampler": upsampler,
}
CHAIN = ("base-36x64", "base-72x128", "grid-pseudo4d", "grid-objaverse")
SCALES: tuple[Scale, ...] = ("tiny", "small", "paper")
