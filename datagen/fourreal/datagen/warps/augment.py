"""Other grids from the same one: seen from the other end, backwards, in a mirror.

Each undoes itself when it is applied twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from fourreal.datagen.warps.synthesis import Views

Augmentation = Literal["reverse-views", "reverse-time", "flip"]


def reverse_views(views: Views) -> Views:
    """The last view first; homographies go out from what is now view 0."""
    to_last = views.homographies[:, ::-1] @ np.linalg.inv(views.homographies[:, -1:])
    return replace(
        views,
        frames=views.frames[::-1],
        homographies=to_last / to_last[..., 2:, 2:],
        mask=None if views.mask is None else views.mask[::-1],
    )


def reverse_time(views: Views) -> Views:
    """The last moment first."""
    return replace(views, frames=views.frames[:, ::-1], mask=None if views.mask is None else views.mask[:, ::-1])


def flip(views: Views) -> Views:
    """Left and right exchanged in every frame."""
    width = views.frames.shape[3]
    mirror = np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    flipped = mirror @ views.homographies @ mirror
    return replace(
        views,
        frames=views.frames[:, :, :, ::-1],
        homographies=flipped / flipped[..., 2:, 2:],
        mask=None if views.mask is None else views.mask[..., ::-1],
    )


_AUGMENTATIONS: dict[Augmentation, Callable[[Views], Views]] = {
    "reverse-views": reverse_views,
    "reverse-time": reverse_time,
    "flip": flip,
}


def augment(views: Views, names: Sequence[Augmentation], rng: np.random.Generator) -> tuple[Views, list[str]]:
    """Apply each of `names` or not, by the toss of a coin; returns also those that were applied."""
    applied: list[str] = []
    for name, function in _AUGMENTATIONS.items():
        if name in names and rng.random() < 0.5:
            views = function(views)
            applied.append(name)
    return replace(views, frames=np.ascontiguousarray(views.frames)), applied
