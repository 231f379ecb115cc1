"""A pseudo-4D grid from one clip: the same path of 2D transforms over views, applied at every time.

Motion along the time axis is the scene's alone, motion along the view axis the path's alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.warps.layers import Layers, composite, paint_layers
from fourreal.datagen.warps.paths import Array
from fourreal.datagen.warps.placement import Warp
from fourreal.datagen.warps.resampling import SUPPORT, Doubler, Picture, level_of, sample, sampling_map, to_bytes

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

    def __init__(self, view_to_view0: Array, warp: Warp, height: int, width: int, like: Picture) -> None:
        """`like` is a picture `[..., C]` of the layer's channels and type."""
        channels = like.shape[-1]
        into_source = np.array([[1.0, 0.0, warp.left], [0.0, 1.0, warp.top], [0.0, 0.0, 1.0]])
        to_source = [into_source @ matrix for matrix in view_to_view0]
        self.levels = [level_of(matrix, height, width) for matrix in view_to_view0]
        self.parts: dict[int, tuple[slice, slice]] = {}
        """What the views of a level read of the source: rows and columns."""
        self.doublers: dict[int, Doubler] = {}
        for level in set(self.levels[1:]):
            seen = [matrix for matrix, of in zip(to_source[1:], self.levels[1:], strict=True) if of == level]
            rows, columns = self.parts[level] = part_read(np.stack(seen), height, width, warp.shrunk_size)
            self.doublers[level] = Doubler(rows.stop - rows.start, columns.stop - columns.start, channels, like.dtype)
        self.places = [
            sampling_map(_moved(matrix, *self.parts[level]), height, width)
            for matrix, level in zip(to_source[1:], self.levels[1:], strict=True)
        ]
        self.doubled: dict[int, Picture] = {}
        self._out = np.empty((height, width, channels), like.dtype)

    def show(self, image: Picture) -> None:
        """Take the layer `[h, w, C]` of the next time."""
        self.doubled = {level: double(image[self.parts[level]], level) for level, double in self.doublers.items()}

    def view(self, v: int) -> Picture:
        """View v, but not 0, `[H, W, C]`; valid until the next call."""
        sample(self.doubled[self.levels[v]], self.places[v - 1], self._out)
        return self._out


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


def synthesize(clip: Frames, warp: Warp, height: int, width: int, layers: Layers | None = None) -> Views:
    """Turn the frames of a clip into views; `clip` `[T, h, w, 3]` and `layers` have the warp's `shrunk_size`."""
    V, T = warp.view_to_view0.shape[1], len(clip)
    frames = np.empty((V, T, height, width, 3), np.uint8)
    mask = None if layers is None else np.empty((V, T, height, width), np.uint8)
    rows, columns = slice(warp.top, warp.top + height), slice(warp.left, warp.left + width)
    frames[0] = clip[:, rows, columns]
    if layers is None or mask is None:
        # With a fourth channel OpenCV doubles and samples bytes faster.
        picture = np.empty((*clip.shape[1:3], 4), np.uint8)
        sampler = _Sampler(warp.view_to_view0[0], warp, height, width, picture)
        for t, frame in enumerate(clip):
            sampler.show(cv2.cvtColor(frame, cv2.COLOR_RGB2RGBA, dst=picture))
            for v in range(1, V):
                cv2.cvtColor(sampler.view(v), cv2.COLOR_RGBA2RGB, dst=frames[v, t])
        return Views(frames, warp.homographies)
    samplers = [
        _Sampler(matrices, warp, height, width, np.empty(4 if layer else 3, np.float32))
        for layer, matrices in enumerate(warp.view_to_view0)
    ]
    for t, frame in enumerate(clip):
        coverage = layers.coverage[:, t]
        for sampler, layer in zip(samplers, paint_layers(frame.astype(np.float32), coverage), strict=True):
            sampler.show(layer)
        to_bytes(255.0 * (1.0 - np.prod(1.0 - coverage[:, rows, columns], axis=0)), mask[0, t])
        for v in range(1, V):
            image, share = composite([sampler.view(v) for sampler in samplers])
            to_bytes(image, frames[v, t])
            to_bytes(255.0 * share, mask[v, t])
    return Views(frames, warp.homographies, mask)
