"""What becomes of rendered pixels: mask, composite over a background, sRGB in 8 bits.

Letters: V views, T times, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class RenderedPixels:
    """What a render gives, before any background.

    Shapes and units: `colour` float16 `[V, T, H, W, 4]`, linear light (Rec. 709 primaries), premultiplied by
    alpha; `depth` float32 `[V, T, H, W]`, planar z in metres, `inf` where nothing is hit.
    """

    colour: npt.NDArray[np.float16]
    depth: npt.NDArray[np.float32]
    pixel_path: str = "memory"
    """How the pixels left Blender: "memory" or "exr"."""
    normals: npt.NDArray[np.float32] | None = None
    """As in Grid, if asked for."""
    flow: npt.NDArray[np.float32] | None = None
    """As in Grid, if asked for."""
    coverage: npt.NDArray[np.float16] | None = None
    """`[V, T, H, W]`, how much of each pixel shows the asset, where there is a ground that alpha counts too."""

    @cached_property
    def window(self) -> tuple[slice, slice]:
        """Lines and columns outside of which every frame is empty, and two more on each side as far as there are any.

        Most of a frame is empty, so what is done pixel by pixel is done there. The whole frame if nothing is seen.
        """
        filled = (self.colour.view(np.uint64)[..., 0] != 0).any(axis=(0, 1))  # a pixel is four half floats
        return _span(filled.any(axis=1)), _span(filled.any(axis=0))

    @property
    def alpha(self) -> npt.NDArray[np.float32]:
        """Coverage of the asset, float32 `[V, T, H, W]` from 0 to 1."""
        if self.coverage is not None:
            return np.clip(self.coverage.astype(np.float32), 0.0, 1.0)
        coverage = np.zeros(self.colour.shape[:-1], np.float32)
        part = (..., *self.window)
        coverage[part] = np.clip(self.colour[..., 3][part].astype(np.float32), 0.0, 1.0)
        return coverage

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """Coverage of the asset, uint8 `[V, T, H, W]`."""
        coverage = self.alpha
        return np.asarray(np.rint(coverage * np.float32(255.0)), np.uint8)

    def over(self, background: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Composite over linear RGB `[V, H, W, 3]` in linear light; returns sRGB uint8 `[V, T, H, W, 3]`."""
        V, T, H, W, _ = self.colour.shape
        frames = np.empty((V, T, H, W, 3), np.uint8)
        for v in range(V):
            frames[v] = _srgb_bytes(background[v])
            behind = background[v][self.window]
            for t in range(T):  # frame by frame: the floats of a whole grid would be many times its bytes
                colour = self.colour[v, t][self.window].astype(np.float32)
                linear = colour[..., :3] + (1.0 - np.clip(colour[..., 3:], 0.0, 1.0)) * behind
                frames[v, t][self.window] = _srgb_bytes(linear)
        return frames


def _span(filled: npt.NDArray[np.bool_]) -> slice:
    """From two before the first to two after the last that is filled; all if none is."""
    where = np.flatnonzero(filled)
    return slice(max(int(where[0]) - 2, 0), int(where[-1]) + 3) if len(where) else slice(0, len(filled))


def _srgb_bytes(linear: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(linear_to_srgb(linear) * 255.0), np.uint8)


def linear_to_srgb(linear: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The sRGB transfer function (IEC 61966-2-1), clipped to 0..1: Blender's "Standard" view."""
    clipped = np.clip(linear, 0.0, 1.0)
    return np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * np.power(clipped, 1 / 2.4) - 0.055).astype(
        np.float32
    )


def srgb_to_linear(srgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The inverse of `linear_to_srgb` on 0..1."""
    return np.asarray(np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4))
