"""Places several animated objects side by side on one floor. numpy only.

Letters: T times, D hull directions, P points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.scene import Measurement, Placement, Scene

Array = npt.NDArray[np.float64]

SIZES_M = (0.7, 1.4)
"""Extent of an object (diagonal of its bounding box, at the time when that is largest), before the whole scene is
brought to the size of the frame."""
_DIRECTIONS = 12
_GAP_M = (0.05, 0.35)
_HULL_SLACK = 1.03
"""Vertices lie at most 2 % of the hull's radius outside of it (see `measure`)."""
_CIRCLE_STEPS = 300


def arrange(measurements: Sequence[Measurement], rng: np.random.Generator) -> list[Placement]:
    """Draw size, turn and place of each object: it stands on z = 0, and no object's footprint meets another's.

    A footprint is a circle around all that the object covers of the floor at any of its times, its travels included.
    Each is put down along the best of a few random directions, as near to the middle as those before leave room for;
    there is always such a place, so nothing is rejected, however many or large they are.
    """
    circles: list[tuple[Array, float]] = []
    placements = []
    for measurement in measurements:
        extent = np.linalg.norm(np.ptp(measurement.hull, axis=1), axis=-1).max()
        scale, turn = float(rng.uniform(*SIZES_M) / extent), float(rng.uniform(0.0, 2.0 * np.pi))
        at_first = Placement(scale=scale, turn=turn)
        centre, radius = footprint(placed(measurement, at_first))
        spot = _free_spot(circles, radius + rng.uniform(*_GAP_M), rng)
        circles.append((spot, radius))
        x, y = (spot - centre).tolist()
        z = -scale * float(measurement.lowest.min())
        placements.append(at_first.then(Placement(centre=(-x, -y, -z))))
    return placements


def placed(measurement: Measurement, placement: Placement) -> Measurement:
    """The measurement of an object that was put in its place."""
    return Measurement(
        hull=placement.apply(measurement.hull),
        points=placement.apply(measurement.points),
        lowest=(measurement.lowest - placement.centre[2]) * placement.scale,
    )


def in_world(measurements: Sequence[Measurement], scene: Scene) -> list[Measurement]:
    """The measurements of a scene's actors, each in its own space before, where they are in the scene."""
    return [placed(m, actor.placement) for m, actor in zip(measurements, scene.actors, strict=True)]


def together(measurements: Sequence[Measurement]) -> Measurement:
    """One measurement of all objects."""
    return Measurement(
        hull=np.concatenate([m.hull for m in measurements], axis=1),
        points=np.concatenate([m.points for m in measurements], axis=1),
        lowest=np.min([m.lowest for m in measurements], axis=0),
    )


def footprint(measurement: Measurement) -> tuple[Array, float]:
    """Centre `[2]` and radius (metres) of a circle around all that is ever covered of the floor.

    Nearly the smallest: by the steps of `framing.normalisation_of`.
    """
    points = measurement.hull[..., :2].reshape(-1, 2)
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    for step in range(_CIRCLE_STEPS):
        farthest = points[np.argmax(np.square(points - centre).sum(axis=1))]
        centre = centre + (farthest - centre) / (step + 2.0)
    return centre, _HULL_SLACK * float(np.linalg.norm(points - centre, axis=1).max())


def _free_spot(circles: Sequence[tuple[Array, float]], radius: float, rng: np.random.Generator) -> Array:
    """Where a circle of this radius is nearest to the middle of the others without meeting one: `[2]`."""
    if not circles:
        return np.zeros(2)
    middle = np.mean([centre for centre, _ in circles], axis=0)
    spots = []
    for angle in rng.uniform(0.0, 2.0 * np.pi, _DIRECTIONS):
        direction = np.array([np.cos(angle), np.sin(angle)])
        spots.append((_first_free(circles, radius, middle, direction), direction))
    distance, direction = min(spots, key=lambda spot: spot[0])
    return np.asarray(middle + distance * direction)


def _first_free(circles: Sequence[tuple[Array, float]], radius: float, start: Array, direction: Array) -> float:
    """The smallest distance from `start` along a direction at which a circle meets none of the others."""
    taken = []  # intervals along the ray
    for centre, other in circles:
        along = float((centre - start) @ direction)
        half = (radius + other) ** 2 - (float(np.square(centre - start).sum()) - along**2)
        if half > 0.0:
            taken.append((along - half**0.5, along + half**0.5))
    distance = 0.0
    for low, high in sorted(taken):
        if low <= distance < high:
            distance = high
    return distance
