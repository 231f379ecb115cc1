"""Where in a source video the views of a path lie: inside, by construction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fourreal.datagen.warps.paths import Array
from fourreal.datagen.warps.resampling import SUPPORT


@dataclass(frozen=True)
class Placement:
    """Where in a source picture the plane lies: plane (x, y) is at source pixel `scale * (x, y) + (left, top)`.

    Pixel centres are at +0.5.
    """

    scale: float
    left: float
    top: float


@dataclass(frozen=True)
class Warp:
    """How the frames of a clip become views, in pixels.

    The source is first shrunk as a whole (area averaging) so that one of its pixels is one pixel of view 0; then
    view 0 is a slice of it, free of interpolation, and the others are sampled from it.
    """

    shrunk_size: tuple[int, int]
    """Width and height of the shrunk source."""
    left: int
    top: int
    """Place of view 0 in the shrunk source."""
    view_to_view0: Array
    """`[L, V, 3, 3]`: pixels of view v to pixels of view 0, for each layer, pixel centres at +0.5."""

    @property
    def homographies(self) -> Array:
        """`[L, V, 3, 3]`: pixels of view 0 to pixels of view v, for each layer."""
        inverse = np.linalg.inv(self.view_to_view0)
        return np.asarray(inverse / inverse[..., 2:, 2:])


def place(
    path: Array, aspect: float, margin: float, source_size: tuple[int, int], rng: np.random.Generator
) -> Placement:
    """Place the plane in a source picture so that no view of no layer leaves it, as large as that allows.

    `path` is `[..., 3, 3]`, `aspect` is W/H of the views, `margin` (plane units) stays free around them,
    `source_size` is (width, height).
    All views' corners span a box in the plane; the box is fitted into the source and slid at random along the side
    that has room. A homography maps the convex view into the convex box as long as its corners lie there and are
    in front of the camera (see `paths`), so nothing needs clipping.
    """
    corners = np.array([[x, y, 1.0] for x in (-0.5 * aspect, 0.5 * aspect) for y in (-0.5, 0.5)])
    mapped = np.einsum("vij,cj->vci", path.reshape(-1, 3, 3), corners)
    assert np.all(mapped[..., 2] > 0.0), "a corner behind the camera"
    points = (mapped[..., :2] / mapped[..., 2:]).reshape(-1, 2)
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    room = np.array(source_size, np.float64)
    scale = float(np.min(room / (high - low)))
    slack = room - scale * (high - low)
    left, top = rng.uniform(0.0, 1.0, 2) * slack - scale * low
    return Placement(scale, float(left), float(top))


MARGIN_PIXELS = SUPPORT + 1.0
"""Left free around all views: what the kernel reads, and a pixel for rounding to whole places and sizes."""


def plan_warp(path: Array, source_size: tuple[int, int], height: int, width: int, rng: np.random.Generator) -> Warp:
    """Place a path `[L, V, 3, 3]` in a source of (width, height) pixels, at random where there is room.

    Raises ValueError when the source would have to be enlarged.
    """
    placement = place(path, width / height, MARGIN_PIXELS / height, source_size, rng)
    factor = height / placement.scale
    if factor > 1.0:
        raise ValueError(
            f"the video has {source_size[0]}x{source_size[1]} pixels, too few for views of {width}x{height} "
            f"with room to move: views of at most {int(width / factor)}x{int(height / factor)} would do"
        )
    shrunk = (round(source_size[0] * factor), round(source_size[1] * factor))
    to_pixels = np.array([[1 / height, 0.0, -0.5 * width / height], [0.0, 1 / height, -0.5], [0.0, 0.0, 1.0]])
    view_to_view0 = np.linalg.inv(to_pixels) @ path @ to_pixels
    left, top = np.round(np.array([placement.left, placement.top]) * factor - 0.5 * np.array([width, height]))
    return Warp(shrunk, int(left), int(top), view_to_view0 / view_to_view0[..., 2:, 2:])
