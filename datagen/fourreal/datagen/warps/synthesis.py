"""A pseudo-4D grid from one clip: the same path of 2D transforms over views, applied at every time.

Motion along the time axis is the scene's alone, motion along the view axis the path's alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fourreal.datagen.warps.layers import Layers, composite, paint_layers
from fourreal.datagen.warps.paths import Array
from fourreal.datagen.warps.placement import Warp
from fourreal.datagen.warps.resampling import Doubler, Image, level_of, sample, sampling_map, to_bytes

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

    def __init__(self, view_to_view0: Array, warp: Warp, height: int, width: int, channels: int) -> None:
        into_source = np.array([[1.0, 0.0, warp.left], [0.0, 1.0, warp.top], [0.0, 0.0, 1.0]])
        self.places = [sampling_map(into_source @ matrix, height, width) for matrix in view_to_view0]
        self.levels = [level_of(matrix, height, width) for matrix in view_to_view0]
        source_width, source_height = warp.shrunk_size
        self.doublers = {level: Doubler(source_height, source_width, channels) for level in set(self.levels[1:])}
        self.doubled: dict[int, Image] = {}
        self._out = np.empty((height, width, channels), np.float32)

    def show(self, image: Image) -> None:
        """Take the layer `[h, w, C]` of the next time."""
        self.doubled = {level: double(image, level) for level, double in self.doublers.items()}

    def view(self, v: int) -> Image:
        """View v, but not 0, `[H, W, C]`; valid until the next call."""
        sample(self.doubled[self.levels[v]], self.places[v], self._out)
        return self._out


def synthesize(clip: Frames, warp: Warp, height: int, width: int, layers: Layers | None = None) -> Views:
    """Turn the frames of a clip into views; `clip` `[T, h, w, 3]` and `layers` have the warp's `shrunk_size`."""
    V, T = warp.view_to_view0.shape[1], len(clip)
    frames = np.empty((V, T, height, width, 3), np.uint8)
    mask = None if layers is None else np.empty((V, T, height, width), np.uint8)
    samplers = [
        _Sampler(matrices, warp, height, width, channels=4 if layer else 3)
        for layer, matrices in enumerate(warp.view_to_view0)
    ]
    rows, columns = slice(warp.top, warp.top + height), slice(warp.left, warp.left + width)
    image = np.empty(clip.shape[1:], np.float32)
    for t, frame in enumerate(clip):
        frames[0, t] = frame[rows, columns]
        np.copyto(image, frame)
        if layers is None or mask is None:
            samplers[0].show(image)
            for v in range(1, V):
                to_bytes(samplers[0].view(v), frames[v, t])
            continue
        coverage = layers.coverage[:, t]
        for sampler, layer in zip(samplers, paint_layers(image, coverage), strict=True):
            sampler.show(layer)
        to_bytes(255.0 * (1.0 - np.prod(1.0 - coverage[:, rows, columns], axis=0)), mask[0, t])
        for v in range(1, V):
            picture, share = composite([sampler.view(v) for sampler in samplers])
            to_bytes(picture, frames[v, t])
            to_bytes(255.0 * share, mask[v, t])
    return Views(frames, warp.homographies, mask)
