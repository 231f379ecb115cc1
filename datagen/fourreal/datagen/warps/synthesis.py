"""A pseudo-4D grid from one clip: the same path of 2D transforms over views, applied at every time.

Motion along the time axis is the scene's alone, motion along the view axis the path's alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.warps.layers import Layers, composite, paint_layers
from fourreal.datagen.warps.paths import Array
from fourreal.datagen.warps.placement import Warp
from fourreal.datagen.warps.resampling import (
    IN_DOUBLE,
    IN_FINE,
    SUPPORT,
    Doubler,
    Picture,
    levels_of,
    sample,
    sampling_maps,
    soften,
    to_bytes,
)

_BAND_PIXELS = 1 << 15
"""Of a view, sampled before the same of the next view."""

Frame = npt.NDArray[np.uint8]
Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Views:
    """What a grid shows, before it has a name."""

    frames: Frames
    """`[V, T, H, W, 3]`."""
    homographies: Array
    """`[L, V, 3, 3]`: pixels of view 0 to pixels of view v, for each layer, farthest first."""
    mask: Frames | None = None
    """`[V, T, H, W]`: coverage by all layers but the farthest, 0 to 255."""


class _Sampler:
    """Samples one layer for all views; what is the same at all times is worked out once."""

    def __init__(
        self, view_to_view0: Array, warp: Warp, height: int, width: int, like: Picture, *, fine: bool = False
    ) -> None:
        """`like` is a picture `[..., C]` of the layer's channels and type; `fine` ones have twice the resolution."""
        channels, self._fine = like.shape[-1], fine
        into_source = np.array([[1.0, 0.0, warp.left], [0.0, 1.0, warp.top], [0.0, 0.0, 1.0]])
        to_source = into_source @ view_to_view0
        self.levels = levels_of(view_to_view0, height, width)
        self.parts: dict[int, tuple[slice, slice]] = {}
        """What the views of a level read of the source: rows and columns."""
        self.doublers: dict[int, Doubler] = {}
        for level in set(self.levels[1:]):
            seen = to_source[1:][np.array(self.levels[1:]) == level]
            rows, columns = self.parts[level] = part_read(seen, height, width, warp.shrunk_size)
            if not fine:
                size = rows.stop - rows.start, columns.stop - columns.start
                self.doublers[level] = Doubler(*size, channels, like.dtype)
        in_double = IN_FINE if fine else IN_DOUBLE
        into_parts = [
            in_double @ _moved(matrix, *self.parts[level])
            for matrix, level in zip(to_source[1:], self.levels[1:], strict=True)
        ]
        self.places = sampling_maps(np.array(into_parts).reshape(-1, 3, 3), height, width)
        self.doubled: dict[int, Picture] = {}
        self._out = np.empty((height, width, channels), like.dtype)

    def show(self, image: Picture) -> None:
        """Take the layer `[h, w, C]`, or `[2h, 2w, C]`, of the next time."""
        if self._fine:
            self.doubled = {level: soften(image[_twice(part)], level) for level, part in self.parts.items()}
        else:
            self.doubled = {level: double(image[self.parts[level]], level) for level, double in self.doublers.items()}

    def view(self, v: int) -> Picture:
        """View v, but not 0, `[H, W, C]`; valid until the next call."""
        sample(self.doubled[self.levels[v]], self.places[v - 1], self._out)
        return self._out

    def views(self, out: Picture) -> None:
        """Write all views but the first to `out` `[V - 1, H, W, C]`, a band of rows of all of them after the other.

        Views lie near one another in the picture: what one reads of it, the next finds in the processor's cache. Of the
        whole time of a grid of 288x512 or 512x512 that takes a tenth away.
        """
        height, width = out.shape[1:3]
        step = max(16, _BAND_PIXELS // width)
        for rows in (slice(top, top + step) for top in range(0, height, step)):
            for picture, (whole, rest), level in zip(out, self.places, self.levels[1:], strict=True):
                sample(self.doubled[level], (whole[rows], rest[rows]), picture[rows])


def _twice(part: tuple[slice, slice]) -> tuple[slice, slice]:
    """The same part of a picture of twice the resolution."""
    rows, columns = (slice(2 * one.start, 2 * one.stop) for one in part)
    return rows, columns


def _moved(to_source: Array, rows: slice, columns: slice) -> Array:
    """The same map into a part of the source."""
    return np.array([[1.0, 0.0, -columns.start], [0.0, 1.0, -rows.start], [0.0, 0.0, 1.0]]) @ to_source


def part_read(to_source: Array, height: int, width: int, source_size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a source of (width, height) that views, `[N, 3, 3]`, are sampled from."""
    corners = np.array([[x, y, 1.0] for x in (0.0, width) for y in (0.0, height)])
    mapped = np.einsum("vij,cj->vci", to_source, corners)
    points = (mapped[..., :2] / mapped[..., 2:]).reshape(-1, 2)
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - SUPPORT, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + SUPPORT, source_size)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


class Memory:
    """Memory for pictures, used again when nothing holds the last that lay in it.

    A grid of 8 x 8 at 512x512 has 50 MB, on which the system spends a tenth of its time when they are fresh.
    """

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def empty(self, *shape: int) -> Frames:
        """Uint8 of any value, of this shape."""
        size = math.prod(shape)
        # Every array in it holds it as its base; here, `self` and the argument do.
        if self._bytes.size != size or sys.getrefcount(self._bytes) > 2:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes.reshape(shape)


def synthesize(
    clip: Iterable[Frame],
    times: int,
    warp: Warp,
    height: int,
    width: int,
    layers: Layers | None = None,
    memory: Memory | None = None,
) -> Views:
    """Turn the frames of a clip into views, in `memory`.

    `clip` gives `[h, w, 3]`, of the warp's `shrunk_size`, as `layers` are; where there are none, it may be twice as
    large, and view 0 is the mean of every four pixels.
    """
    V = warp.view_to_view0.shape[1]
    frames = (memory or Memory()).empty(V, times, height, width, 3)
    mask = None if layers is None else np.empty((V, times, height, width), np.uint8)
    inside = slice(warp.top, warp.top + height), slice(warp.left, warp.left + width)
    if layers is None or mask is None:
        sampler: _Sampler | None = None
        for t, frame in enumerate(clip):
            fine = frame.shape[:2] != warp.shrunk_size[::-1]
            sampler = sampler or _Sampler(warp.view_to_view0[0], warp, height, width, frame, fine=fine)
            sampler.show(frame)
            if fine:
                cv2.resize(frame[_twice(inside)], (width, height), dst=frames[0, t], interpolation=cv2.INTER_AREA)
            else:
                frames[0, t] = frame[inside]
            sampler.views(frames[1:, t])
        return Views(frames, warp.homographies)
    samplers = [
        _Sampler(matrices, warp, height, width, np.empty(4 if layer else 3, np.float32))
        for layer, matrices in enumerate(warp.view_to_view0)
    ]
    for t, frame in enumerate(clip):
        frames[0, t] = frame[inside]
        coverage = layers.coverage[:, t]
        for sampler, layer in zip(samplers, paint_layers(frame.astype(np.float32), coverage), strict=True):
            sampler.show(layer)
        to_bytes(255.0 * (1.0 - np.prod(1.0 - coverage[:, *inside], axis=0)), mask[0, t])
        for v in range(1, V):
            image, share = composite([sampler.view(v) for sampler in samplers])
            to_bytes(image, frames[v, t])
            to_bytes(255.0 * share, mask[v, t])
    return Views(frames, warp.homographies, mask)
