"""The ground of a scene: where it lies, and a material that the objects stand out from. numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.background import Background, Outline, contrast
from fourreal.datagen.blender.pixels import srgb_to_linear
from fourreal.datagen.blender.scene import Camera, Ground, Measurement, Scene, Vector
from fourreal.platform.cameras import camera_centre

Array = npt.NDArray[np.float64]

_SOLID, _END = 1.6, 5.0
"""Where the ground begins to fade and where it ends, in distances of the farthest camera."""
_BELOW_M = 1e-4
"""Keeps surfaces that lie on the ground from fighting with it for pixels."""
_LIT = 0.85
"""What the lights make of a floor, as a share of its own colour, roughly; its colour is chosen for how it will look."""
_LEVELS = (0.34, 0.78)
"""Brightness of its colour, sRGB: shadows are hard to see on a floor much darker."""
_TRIES = 24
_PROBE_PX = 48
_PROBE_VIEWS = 3


@dataclass(frozen=True, kw_only=True)
class GroundSettings:
    """What the objects stand on."""

    kind: Literal["auto", "none", "any", "plain", "textured"] = "auto"
    """`plain`: one colour; `textured`: two, in patches; `any` is drawn for each grid; `auto`: `any` where a scene may
    have several objects, otherwise `none`."""


def probe_of(scene: Scene) -> Scene:
    """A small quick version of a scene, to learn the objects' colours from before there is a ground."""
    factor = min(1.0, _PROBE_PX / min(scene.height, scene.width))
    height, width = round(scene.height * factor), round(scene.width * factor)
    shrink = np.diag([width / scene.width, width / scene.width, 1.0])
    picked = np.unique(np.linspace(0, len(scene.cameras) - 1, _PROBE_VIEWS).round().astype(int)).tolist()
    cameras = (scene.cameras[v] for v in picked)
    return replace(
        scene,
        cameras=tuple(
            Camera.from_matrices(shrink @ c.intrinsics_matrix(), c.world_to_camera_matrix()) for c in cameras
        ),
        times_s=tuple(dict.fromkeys((scene.times_s[0], scene.times_s[-1]))),
        height=height,
        width=width,
        samples=4,
    )


def draw_ground(
    kind: str, scene: Scene, measurement: Measurement, outline: Outline, min_contrast: float, rng: np.random.Generator
) -> Ground:
    """Draw a ground just below the lowest point of all times, which the objects' outline differs from.

    `measurement` is of all objects, in the scene.
    """
    if kind == "any":
        kind = str(rng.choice(["plain", "textured"]))
    farthest = np.linalg.norm(
        camera_centre(np.stack([c.world_to_camera_matrix() for c in scene.cameras])), axis=1
    ).max()
    x, y = rng.uniform(-100.0, 100.0, size=2).tolist()
    return Ground(
        kind=kind,
        height=float(measurement.lowest.min()) - _BELOW_M,
        colours=_albedos(_colour(outline, min_contrast, rng), kind, rng),
        grain_per_m=float(rng.uniform(0.8, 4.0)),
        offset=(x, y, 0.0),
        solid_m=_SOLID * float(farthest),
        end_m=_END * float(farthest),
    )


def _colour(outline: Outline, min_contrast: float, rng: np.random.Generator) -> Array:
    """Draw sRGB colours `[3]` until the outline stands apart from one; that with most contrast if none is enough."""
    best, most = np.full(3, 0.5), -1.0
    for _ in range(_TRIES):
        colour = np.clip(rng.uniform(*_LEVELS) + rng.uniform(-0.08, 0.08, size=3), 0.0, 1.0)
        r, g, b = colour.tolist()
        apart = contrast(Background("coloured", (r, g, b), (r, g, b)), outline)
        if apart > most:
            best, most = colour, apart
        if most >= min_contrast:
            break
    return best


def _albedos(middle: Array, kind: str, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Linear colours of a floor that looks about like this sRGB colour, in patches somewhat lighter and darker."""
    swing = rng.uniform(0.03, 0.07) + rng.uniform(-0.02, 0.02, size=3) if kind == "textured" else np.zeros(3)
    ends = (srgb_to_linear(np.clip(middle + side * swing, 0.0, 1.0)) / _LIT for side in (-1.0, 1.0))
    a, b = (np.clip(end, 0.02, 0.9).tolist() for end in ends)
    return (a[0], a[1], a[2]), (b[0], b[1], b[2])
