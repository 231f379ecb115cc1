"""Where the cameras of a grid stand: a continuous path around the asset, in the order of the views. numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from fourreal.platform.cameras import intrinsics, orbit
from fourreal.platform.errors import UserError

Array = npt.NDArray[np.float64]
Range = tuple[float, float]

_STEEPEST_DEGREES = 85.0
_ROOM = 0.96
"""Share of each side of the frame that may be used; the rest is for vertices just outside of the measured hull."""
_NEAREST_M = 0.05


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """How the views of a grid follow each other; every range is drawn from once for each grid."""

    path: Literal["arc", "orbit"] = "arc"
    """`arc`: from a random start, part of the way around; `orbit`: all around, the last view next to the first."""
    arc_degrees: Range = (30.0, 90.0)
    """Width of an arc."""
    elevation_degrees: Range = (5.0, 35.0)
    """Height of the first view over the horizon."""
    elevation_change_degrees: float = 8.0
    """By how much, at most, the elevation changes along the path: evenly on an arc, up and down on an orbit."""
    distance_change: float = 0.0
    """By which share, at most, the distance changes along the path, in the same way."""
    fov_degrees: Range = (25.0, 45.0)
    """Vertical field of view, at most 60; with --camera.fill it decides the distance."""
    fill: Range = (0.68, 0.88)
    """Extent of the asset, in the view where it is largest, as a share of the frame's smaller side; several objects are
    held against height and width each, being wide."""

    def __post_init__(self) -> None:
        steepest = _STEEPEST_DEGREES - abs(self.elevation_change_degrees)
        for name, least, most in (
            ("arc_degrees", 0.0, 360.0),
            ("elevation_degrees", -steepest, steepest),
            ("fov_degrees", 1.0, 60.0),
            ("fill", 0.05, 0.9),
        ):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                flag = f"--camera.{name.replace('_', '-')}"
                raise UserError(f"{flag} takes two numbers, {least:g} <= LOW <= HIGH <= {most:g}, not {low} {high}")
        if not 0.0 <= self.distance_change <= 0.5:
            raise UserError(f"--camera.distance-change must lie between 0 and 0.5, not {self.distance_change}")


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Directions and relative distances of V views: azimuth, elevation (radians) and stretch, each `[V]`."""

    azimuth: Array
    elevation: Array
    stretch: Array
    lens: Array
    """Intrinsics `[3, 3]` of every view."""

    def above(self, elevation: float) -> Self:
        """The same path, raised as a whole as far as it takes for no view to stand lower than `elevation`."""
        return replace(self, elevation=self.elevation + max(0.0, elevation - float(self.elevation.min())))

    def poses(self, distance: float) -> Array:
        """World-to-camera `[V, 4, 4]` around the origin."""
        return orbit(self.azimuth, self.elevation, distance * self.stretch)


def draw_path(settings: CameraSettings, views: int, height: int, width: int, rng: np.random.Generator) -> CameraPath:
    """Draw a path: random start and direction, even steps, and no jump from one view to the next."""
    start, turn = rng.uniform(0.0, 2.0 * np.pi), rng.choice([-1.0, 1.0])
    arc = np.radians(rng.uniform(*settings.arc_degrees))
    elevation = np.radians(rng.uniform(*settings.elevation_degrees))
    rise = np.radians(settings.elevation_change_degrees) * rng.uniform(-1.0, 1.0)
    recede = settings.distance_change * rng.uniform(-1.0, 1.0)
    phase = rng.uniform(0.0, 2.0 * np.pi)
    lens = intrinsics(width, height, vertical_fov=float(np.radians(rng.uniform(*settings.fov_degrees))))
    if settings.path == "orbit":
        along = 2.0 * np.pi * np.arange(views) / views
        change = 0.5 * (np.sin(along + phase) - np.sin(phase))  # from 0 at the first view, once around
    else:
        change = np.linspace(0.0, 1.0, views) if views > 1 else np.zeros(1)
        along = arc * change
    return CameraPath(start + turn * along, elevation + rise * change, 1.0 + recede * change, lens)


def distance_for(path: CameraPath, hull: Array, fill: float, *, each_side: bool = False) -> float:
    """The smallest distance (metres) at which `hull` `[N, 3]`, around the origin, is inside of every view, and its
    extent at most `fill` of the frame's smaller side, or of `each_side`: height of height, width of width.

    By bisection: farther is smaller.
    """
    middle = path.lens[:2, 2]
    wanted_px = fill * 2.0 * (middle if each_side else np.full(2, middle.min()))
    # Only depth hangs on the distance. [3, V, N]: each coordinate in one piece, for this is tried many times.
    x, y, z = np.ascontiguousarray(np.moveaxis(hull @ path.poses(1.0)[:, :3, :3].transpose(0, 2, 1), -1, 0))
    sides = ((x * path.lens[0, 0], middle[0], wanted_px[0]), (y * path.lens[1, 1], middle[1], wanted_px[1]))

    def fits(distance: float) -> bool:
        depth = z + (distance * path.stretch)[:, None]
        if depth.min() < _NEAREST_M:
            return False
        for scaled, half_px, most_px in sides:
            offset = scaled / depth  # pixels from the middle of the frame
            low, high = offset.min(axis=1), offset.max(axis=1)
            if max(high.max(), -low.min()) > _ROOM * half_px or (high - low).max() > most_px:
                return False
        return True

    near, far = 1.0, 1.0
    while not fits(far):
        near, far = far, 2.0 * far
    for _ in range(40):
        between = 0.5 * (near + far)
        if fits(between):
            far = between
        else:
            near = between
    return far
