"""Builds a scene around a measured asset: cameras on a path, and light. numpy only.

Letters: V views, T times, D hull directions, P points, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.camera_path import CameraSettings, distance_for, draw_path
from fourreal.datagen.blender.devices import CPU
from fourreal.datagen.blender.lighting import LightSettings, draw_lights
from fourreal.datagen.blender.scene import Actor, Camera, Measurement, Placement, Scene

Array = npt.NDArray[np.float64]

_BALL_STEPS = 300
_LOWEST_CAMERA = np.radians(6.0)
"""Elevation of the lowest camera over a ground, which would else be seen edge on or from below."""


def normalisation_of(measurement: Measurement) -> Placement:
    """Bring the smallest ball around what is measured, over all its times, to the origin and to a radius of 1 m.

    A ball, because cameras that look at its centre see the asset about as far on one side of it as on the other,
    wherever they stand. Its centre is found by Badoiu and Clarkson's steps towards the farthest point (2003).
    """
    hull = measurement.hull.reshape(-1, 3)
    centre = 0.5 * (hull.min(axis=0) + hull.max(axis=0))
    for step in range(_BALL_STEPS):
        apart = hull - centre
        farthest = hull[np.argmax(np.einsum("nd,nd->n", apart, apart))]
        centre = centre + (farthest - centre) / (step + 2.0)
    scale = 1.0 / np.linalg.norm(hull - centre, axis=1).max()
    return Placement((float(centre[0]), float(centre[1]), float(centre[2])), float(scale))


def build_scene(
    actors: Sequence[Actor],
    times_s: tuple[float, ...],
    measurement: Measurement,
    *,
    views: int,
    height: int,
    width: int,
    samples: int,
    rng: np.random.Generator,
    camera: CameraSettings,
    light: LightSettings,
    device: str = CPU,
    on_ground: bool = False,
) -> Scene:
    """Place `views` cameras on a path around the actors, and light them from the cameras' side.

    `measurement` is of all actors as they are placed; in the scene they lie in a ball of 1 m around the origin
    together. The distance is such that they, over all views and times, stay inside of the frame, and fill as much of
    it as `camera.fill` says in the view where they are largest. With `on_ground` no camera looks from below the
    horizon.
    """
    normalisation = normalisation_of(measurement)
    hull = normalisation.apply(measurement.hull).reshape(-1, 3)
    path = draw_path(camera, views, height, width, rng)
    if on_ground:
        path = path.above(_LOWEST_CAMERA)
    poses = path.poses(distance_for(path, hull, rng.uniform(*camera.fill), each_side=len(actors) > 1))
    middle = 0.5 * (path.azimuth[0] + path.azimuth[-1])
    return Scene(
        actors=tuple(replace(actor, placement=actor.placement.then(normalisation)) for actor in actors),
        times_s=times_s,
        cameras=tuple(Camera.from_matrices(path.lens, pose) for pose in poses),
        lights=draw_lights(light, middle, rng),
        height=height,
        width=width,
        samples=samples,
        seed=int(rng.integers(2**31)),
        device=device,
    )
