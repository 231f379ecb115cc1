"""A pseudo-4D grid from one clip: the same path of 2D transforms over views, applied at every time.

Motion along the time axis is the scene's alone, motion along the view axis the path's alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.view_paths import Array, place

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Warp:
    """How the frames of a clip become views, in pixels.

    The source is first shrunk as a whole (area averaging, no aliasing) so that one of its pixels is one pixel of
    view 0; then view 0 is a slice of it, free of interpolation, and the others are sampled from it.
    """

    shrunk_size: tuple[int, int]
    """Width and height of the shrunk source."""
    left: int
    top: int
    """Place of view 0 in the shrunk source."""
    view_to_view0: Array
    """`[V, 3, 3]`: pixels of view v to pixels of view 0, pixel centres at +0.5."""

    @property
    def homographies(self) -> Array:
        """`[V, 3, 3]`: pixels of view 0 to pixels of view v, as a Grid stores them."""
        inverse = np.linalg.inv(self.view_to_view0)
        return np.asarray(inverse / inverse[:, 2:, 2:])


MARGIN_PIXELS = 2.0
"""Left free around all views, so that whole-pixel places and cubic interpolation stay inside the source."""


def plan_warp(path: Array, source_size: tuple[int, int], height: int, width: int, rng: np.random.Generator) -> Warp:
    """Place a path in a source of (width, height) pixels, at random where there is room.

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
    return Warp(shrunk, int(left), int(top), view_to_view0 / view_to_view0[:, 2:, 2:])


def synthesize(clip: Frames, warp: Warp, height: int, width: int) -> Frames:
    """Turn the frames of a clip `[T, h, w, 3]` into a grid's frames `[V, T, H, W, 3]`."""
    V, T = len(warp.view_to_view0), len(clip)
    out = np.empty((V, T, height, width, 3), np.uint8)
    matrices = [_for_opencv(matrix, warp.left, warp.top) for matrix in warp.view_to_view0]
    for t, frame in enumerate(clip):
        shrunk = cv2.resize(frame, warp.shrunk_size, interpolation=cv2.INTER_AREA)
        out[0, t] = shrunk[warp.top : warp.top + height, warp.left : warp.left + width]
        for v in range(1, V):
            out[v, t] = cv2.warpPerspective(
                shrunk,
                matrices[v],
                (width, height),
                flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
    return out


def footprint(warp: Warp, height: int, width: int) -> Array:
    """Corners `[V, 4, 2]` of all views in pixels of the shrunk source."""
    corners = np.array([[x, y, 1.0] for x in (0.0, width) for y in (0.0, height)])
    mapped = np.einsum("vij,cj->vci", warp.view_to_view0, corners)
    return np.asarray(mapped[..., :2] / mapped[..., 2:] + [warp.left, warp.top])


def _for_opencv(view_to_view0: Array, left: int, top: int) -> Array:
    """The same map between OpenCV's coordinates, whose pixel centres are whole numbers, in the shrunk source."""
    into_source = np.array([[1.0, 0.0, left - 0.5], [0.0, 1.0, top - 0.5], [0.0, 0.0, 1.0]])
    from_view = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    return np.asarray(into_source @ view_to_view0 @ from_view)
