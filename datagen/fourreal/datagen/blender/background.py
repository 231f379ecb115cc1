"""What is behind the asset: a surrounding that depends on the viewing direction alone, apart from the asset's colours.

Letters: V views, T times, H rows, W columns, N pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.pixels import RenderedPixels, linear_to_srgb, srgb_to_linear
from fourreal.datagen.blender.scene import Camera, Scene, Vector
from fourreal.platform.cameras import pixel_centres
from fourreal.platform.errors import UserError

Array = npt.NDArray[np.float64]
Wave = tuple[float, float, float, float]
_TRIES = 12
_WHITE = 0.98


@dataclass(frozen=True, kw_only=True)
class BackgroundSettings:
    """What is behind the asset."""

    kind: Literal["any", "white", "coloured", "textured"] = "coloured"
    """`white` is taken where the asset stands out from it, `coloured` otherwise; `any` is drawn for each grid."""
    min_contrast: float = 0.12
    """Three quarters of the asset's outline, and in every view half of it on each side, differ at least so much from
    what is behind them, in sRGB from 0 to 1, as far as any background can do that."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_contrast <= 0.5:
            raise UserError(f"--background.min-contrast must lie between 0 and 0.5, not {self.min_contrast}")


@dataclass(frozen=True)
class Background:
    """A surrounding that is the same from every camera: two sRGB colours (0..1), blended from straight down to
    straight up, or, where there are `waves` (wave vector and phase, radians), by their sum.
    """

    kind: Literal["white", "coloured", "textured"]
    down: Vector
    up: Vector
    waves: tuple[Wave, ...] = ()

    def image(self, scene: Scene) -> npt.NDArray[np.float32]:
        """Linear RGB `[V, H, W, 3]` as the scene's cameras see it."""
        pixels = pixel_centres(scene.height, scene.width)
        return np.stack([self.linear(_directions(camera, pixels)).astype(np.float32) for camera in scene.cameras])

    def linear(self, directions: Array) -> Array:
        """Linear RGB `[..., 3]` in these directions (of length 1) `[..., 3]`."""
        down, up = srgb_to_linear(np.array(self.down)), srgb_to_linear(np.array(self.up))
        return np.asarray(down + self._blend(directions) * (up - down))

    def _blend(self, direction: Array) -> Array:
        if not self.waves:
            return np.asarray(0.5 + 0.5 * direction[..., 2:])
        waves = np.array(self.waves)
        return np.asarray(0.5 + 0.5 * np.sin(direction @ waves[:, :3].T + waves[:, 3]).mean(axis=-1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Outline:
    """The asset's pixels where it meets the background.

    Shapes: `srgb` `[N, 3]`, their colours; `directions` `[N, 3]`, where the camera looks there, of length 1; `side`
    `[N]`, a number for each side (right, down, left, up) of each view.
    """

    srgb: Array
    directions: Array
    side: npt.NDArray[np.int64]


def outline_of(pixels: RenderedPixels, scene: Scene) -> Outline:
    """Find it in a render of the scene."""
    edges, directions, sides = [np.zeros((0, 4), np.float32)], [np.zeros((0, 3))], [np.zeros(0, np.int64)]
    coverage = pixels.colour[..., 3] if pixels.coverage is None else pixels.coverage
    corner = [part.start + 0.5 for part in reversed(pixels.window)]
    for v, camera in enumerate(scene.cameras):
        parts = (planes[v][:, *pixels.window] for planes in (pixels.colour, coverage))
        places = [np.zeros((0, 2))]
        for frame, alpha in zip(*parts, strict=True):
            seen = (alpha > 0.9).astype(np.uint8)
            y, x = np.nonzero((seen > 0) & (cv2.erode(seen, np.ones((3, 3), np.uint8)) == 0))
            if len(y):
                edges.append(frame[y, x].astype(np.float32))
                places.append(np.stack([x, y], axis=-1) + corner)
                turn = np.arctan2(y - y.mean(), x - x.mean()) / (0.5 * np.pi)
                sides.append(4 * v + np.rint(turn).astype(np.int64) % 4)
        directions.append(_directions(camera, np.concatenate(places)))
    edge = np.concatenate(edges)
    colours = linear_to_srgb(edge[:, :3] / np.maximum(edge[:, 3:], 1e-6)).astype(np.float64)
    return Outline(colours, np.concatenate(directions), np.concatenate(sides))


def contrast(background: Background, outline: Outline) -> float:
    """What three quarters of the outline, and half of each of its sides, differ by from what is behind them.

    Of each pixel the channel counts that differs most; sRGB from 0 to 1.
    """
    if len(outline.srgb) == 0:
        return 1.0
    behind = linear_to_srgb(background.linear(outline.directions).astype(np.float32))
    apart = np.abs(outline.srgb - behind).max(axis=1)
    by_side = (np.median(apart[outline.side == side]) for side in np.unique(outline.side))
    return float(min(np.percentile(apart, 25), *by_side))


def choose_background(outline: Outline, settings: BackgroundSettings, rng: np.random.Generator) -> Background:
    """Draw backgrounds of the kind asked for until one stands apart from the asset's outline.

    Of `white` only the first try is white, the others are coloured; when none is enough, the one with most contrast is
    taken.
    """
    kind = settings.kind if settings.kind != "any" else str(rng.choice(["white", "coloured", "textured"]))
    mean = outline.srgb.mean(axis=0) if len(outline.srgb) else np.full(3, 0.5)
    bright = float(mean @ np.array([0.2126, 0.7152, 0.0722])) < 0.45
    best, most = None, -1.0
    for n in range(_TRIES):
        if kind == "white" and n == 0:
            background = Background("white", (_WHITE,) * 3, (_WHITE,) * 3)
        else:
            background = _coloured(bright if n < _TRIES // 2 else not bright, rng)
            if kind == "textured":
                background = _textured(background, rng)
        apart = contrast(background, outline)
        if apart > most:
            best, most = background, apart
        if most >= settings.min_contrast:
            break
    assert best is not None
    return best


def _directions(camera: Camera, pixels: Array) -> Array:
    """Directions `[..., 3]` in the world, of length 1, in which a camera sees these pixels `[..., 2]`."""
    rays = np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], axis=-1)
    found = rays @ np.linalg.inv(camera.intrinsics_matrix()).T @ camera.world_to_camera_matrix()[:3, :3]
    return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True))


def _coloured(bright: bool, rng: np.random.Generator) -> Background:
    level = rng.uniform(0.62, 0.78) if bright else rng.uniform(0.18, 0.32)
    tint = rng.uniform(-0.07, 0.07, size=3)
    slope = rng.uniform(-0.12, 0.12)
    down, up = np.clip(level + tint - slope, 0.0, 1.0), np.clip(level + tint + slope, 0.0, 1.0)
    ends = [(float(end[0]), float(end[1]), float(end[2])) for end in (down, up)]
    return Background("coloured", ends[0], ends[1])


def _textured(background: Background, rng: np.random.Generator) -> Background:
    vectors = rng.normal(size=(6, 3))
    vectors *= rng.uniform(8.0, 30.0, size=(6, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    waves = np.concatenate([vectors, rng.uniform(0.0, 2.0 * np.pi, size=(6, 1))], axis=1)
    swing = rng.uniform(0.12, 0.18) * rng.choice([-1.0, 1.0], size=3)
    middle = 0.5 * (np.array(background.down) + np.array(background.up))
    ends = [np.clip(middle + side * swing, 0.0, 1.0).tolist() for side in (-1.0, 1.0)]
    return Background("textured", tuple(ends[0]), tuple(ends[1]), tuple((a, b, c, d) for a, b, c, d in waves.tolist()))
