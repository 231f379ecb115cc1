"""The lights of a grid, drawn from its seed. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, radians
from typing import Literal

import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.scene import Area, Lights, Sun, Vector
from fourreal.platform.cameras import camera_centre, orbit
from fourreal.platform.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LightSettings:
    """What lights the asset."""

    kind: Literal["any", "sun", "studio", "environment"] = "sun"
    """`sun`: a sun and an even sky; `studio`: two area lights and an even sky; `environment`: a tinted sky, bright
    above, and a weak sun; `any` is drawn for each grid."""
    softness_degrees: tuple[float, float] = (4.0, 12.0)
    """Apparent size of a sun: the larger, the softer the shadows."""
    strength: float = 1.0
    """Multiplies all lights."""

    def __post_init__(self) -> None:
        low, high = self.softness_degrees
        if not 0.0 <= low <= high <= 90.0:
            raise UserError(f"--light.softness-degrees takes two numbers, 0 <= LOW <= HIGH <= 90, not {low} {high}")
        if not self.strength > 0.0:
            raise UserError(f"--light.strength must be positive, not {self.strength}")


def draw_lights(settings: LightSettings, azimuth: float, rng: np.random.Generator) -> Lights:
    """Draw lights; the main one shines from the side of the cameras, whose middle `azimuth` (radians) is.

    At strength 1 a white surface reflects just under 1, however it is turned: no shading of it is lost.
    """
    kind = settings.kind if settings.kind != "any" else str(rng.choice(["sun", "studio", "environment"]))
    main = _place(azimuth + rng.uniform(-1.0, 1.0), rng.uniform(radians(35.0), radians(65.0)), 1.0)
    softness = radians(rng.uniform(*settings.softness_degrees))
    s = settings.strength
    if kind == "sun":
        return Lights(Sun(main, 1.6 * s, softness), _grey(0.45 * s), _grey(0.45 * s), kind=kind)
    if kind == "environment":
        tint = rng.uniform(-0.12, 0.12, size=3)
        above, below = (level * s * (1.0 + tint) for level in (0.72, 0.32))
        return Lights(Sun(main, 0.85 * s, softness), _vector(below), _vector(above), kind=kind)
    side = rng.choice([-1.0, 1.0])
    areas = (  # each further light takes samples from the others, which shows at few samples a pixel
        _area(azimuth + side * rng.uniform(0.4, 0.8), rng.uniform(0.5, 0.9), 1.3 * s, rng),
        _area(azimuth - side * rng.uniform(0.8, 1.2), rng.uniform(0.1, 0.5), 0.4 * s, rng),
    )
    return Lights(None, _grey(0.45 * s), _grey(0.45 * s), areas, kind)


def _area(azimuth: float, elevation: float, irradiance: float, rng: np.random.Generator) -> Area:
    """A square light that gives `irradiance` (W/m^2) at the origin: of P watts at r metres that is P / (pi r^2)."""
    distance = rng.uniform(3.0, 4.5)
    return Area(_place(azimuth, elevation, distance), rng.uniform(1.0, 2.5), irradiance * pi * distance**2)


def _place(azimuth: float, elevation: float, distance: float) -> Vector:
    return _vector(camera_centre(orbit(azimuth, elevation, distance))[0])


def _grey(level: float) -> Vector:
    return level, level, level


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])
