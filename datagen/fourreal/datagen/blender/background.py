"""What is behind the asset: a surrounding that depends on the viewing direction alone, apart from the asset's colours.

Letters: V views, H rows, W columns, N pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.pixels import RenderedPixels, linear_to_srgb, srgb_to_linear
from fourreal.datagen.blender.scene import Scene, Vector
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
    """Three quarters of the asset's outline differ at least so much from what is behind it, in sRGB from 0 to 1, as
    far as any background can do that."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_contrast <= 0.5:
            raise UserError(f"--background.min-contrast must lie between 0 and 0.5, not {self.min_contrast}")


@dataclass(frozen=True)
class Background:
    """A surrounding that is the same from every camera: two sRGB colours (0..1), blended from straight down to
    straight up, or, where there are `waves` (wave vector and phase, radians), by their sum.
    """

    down: Vector
    up: Vector
    waves: tuple[Wave, ...] = ()

    @property
    def middle(self) -> Array:
        """The sRGB colour `[3]` between the two."""
        return np.asarray(0.5 * (np.array(self.down) + np.array(self.up)))

    def image(self, scene: Scene) -> npt.NDArray[np.float32]:
        """Linear RGB `[V, H, W, 3]` as the scene's cameras see it."""
        H, W = scene.height, scene.width
        rays = np.concatenate([pixel_centres(H, W), np.ones((H, W, 1))], axis=-1)
        down, up = srgb_to_linear(np.array(self.down)), srgb_to_linear(np.array(self.up))
        images = np.empty((len(scene.cameras), H, W, 3), np.float32)
        for v, camera in enumerate(scene.cameras):
            direction = rays @ np.linalg.inv(camera.intrinsics_matrix()).T @ camera.world_to_camera_matrix()[:3, :3]
            images[v] = down + self._blend(direction / np.linalg.norm(direction, axis=-1, keepdims=True)) * (up - down)
        return images

    def _blend(self, direction: Array) -> Array:
        if not self.waves:
            return np.asarray(0.5 + 0.5 * direction[..., 2:])
        waves = np.array(self.waves)
        return np.asarray(0.5 + 0.5 * np.sin(direction @ waves[:, :3].T + waves[:, 3]).mean(axis=-1, keepdims=True))


def outline_srgb(pixels: RenderedPixels) -> Array:
    """The asset's colours where it meets the background, sRGB `[N, 3]`."""
    found = [np.zeros((0, 3), np.float32)]
    for frame in pixels.colour.reshape(-1, *pixels.colour.shape[2:]):
        seen = (frame[..., 3] > 0.9).astype(np.uint8)
        edge = frame[(seen > 0) & (cv2.erode(seen, np.ones((3, 3), np.uint8)) == 0)].astype(np.float32)
        found.append(linear_to_srgb(edge[:, :3] / np.maximum(edge[:, 3:], 1e-6)))
    return np.concatenate(found).astype(np.float64)


def contrast(background: Background, outline: Array) -> float:
    """What three quarters of `outline` `[N, 3]` differ from the background by, in the channel that differs most."""
    if len(outline) == 0:
        return 1.0
    return float(np.percentile(np.abs(outline - background.middle).max(axis=1), 25))


def choose_background(outline: Array, settings: BackgroundSettings, rng: np.random.Generator) -> Background:
    """Draw backgrounds of the kind asked for until one stands apart from the asset's `outline` `[N, 3]`.

    The last tries are coloured; when none is enough, the one with most contrast is taken.
    """
    kind = settings.kind if settings.kind != "any" else str(rng.choice(["white", "coloured", "textured"]))
    mean = outline.mean(axis=0) if len(outline) else np.full(3, 0.5)
    bright = float(mean @ np.array([0.2126, 0.7152, 0.0722])) < 0.45
    best, most = None, -1.0
    for n in range(_TRIES):
        if kind == "white" and n == 0:
            background = Background((_WHITE,) * 3, (_WHITE,) * 3)
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


def _coloured(bright: bool, rng: np.random.Generator) -> Background:
    level = rng.uniform(0.62, 0.78) if bright else rng.uniform(0.18, 0.32)
    tint = rng.uniform(-0.07, 0.07, size=3)
    slope = rng.uniform(-0.12, 0.12)
    down, up = np.clip(level + tint - slope, 0.0, 1.0), np.clip(level + tint + slope, 0.0, 1.0)
    return Background((float(down[0]), float(down[1]), float(down[2])), (float(up[0]), float(up[1]), float(up[2])))


def _textured(background: Background, rng: np.random.Generator) -> Background:
    vectors = rng.normal(size=(6, 3))
    vectors *= rng.uniform(8.0, 30.0, size=(6, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    waves = np.concatenate([vectors, rng.uniform(0.0, 2.0 * np.pi, size=(6, 1))], axis=1)
    swing = rng.uniform(0.12, 0.18) * rng.choice([-1.0, 1.0], size=3)
    ends = [np.clip(background.middle + side * swing, 0.0, 1.0).tolist() for side in (-1.0, 1.0)]
    return Background(tuple(ends[0]), tuple(ends[1]), tuple((a, b, c, d) for a, b, c, d in waves.tolist()))
