"""What was drawn for one grid, as small JSON for its metadata: cameras, light, background."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from fourreal.datagen.blender.background import Background
from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.scene import Scene
from fourreal.platform.cameras import camera_centre

_DIGITS = 4


def describe_draws(scene: Scene, settings: CameraSettings, background: Background) -> dict[str, Any]:
    """`camera`, `light`, `background` and, where there is one, `ground` of a grid.

    World axes, z up, metres, degrees, linear light but sRGB colours of the background.
    """
    light = asdict(scene.lights)
    return {
        "camera": {"path": settings.path, **_rounded(_camera(scene))},
        "light": {"kind": light.pop("kind"), **_rounded(light)},
        "background": _rounded(asdict(background)),
        **({"ground": _rounded(asdict(scene.ground))} if scene.ground is not None else {}),
    }


def _camera(scene: Scene) -> dict[str, Any]:
    """Where the first view stands, how far the path turns, and between what its height and distance lie."""
    centres = camera_centre(np.stack([camera.world_to_camera_matrix() for camera in scene.cameras]))
    azimuth = np.degrees(np.unwrap(np.arctan2(centres[:, 1], centres[:, 0])))
    distance = np.linalg.norm(centres, axis=1)
    elevation = np.degrees(np.arcsin(centres[:, 2] / distance))
    focal_px = scene.cameras[0].intrinsics_matrix()[1, 1]
    return {
        "start_degrees": float(azimuth[0] % 360.0),
        "turn_degrees": float(azimuth[-1] - azimuth[0]),
        "elevation_degrees": [float(elevation.min()), float(elevation.max())],
        "distance_m": [float(distance.min()), float(distance.max())],
        "fov_degrees": float(np.degrees(2.0 * np.arctan(0.5 * scene.height / focal_px))),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value
