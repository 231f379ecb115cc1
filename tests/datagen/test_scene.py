"""The scene around an asset, built without Blender."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.framing import (
    build_scene,
    normalisation_of,
)
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.scene import Actor, Clip, Measurement, Scene
from fourreal.datagen.blender.timing import sample_times


def measurement_of(seed: int, times: int = 4, size: float = 1.0, far: float = 0.0) -> Measurement:
    """A cloud of a random shape that drifts."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(1, 64, 3)) * rng.uniform(0.2, 1.0, size=3) * size + far
    points = points + size * np.linspace(0, 1, times)[:, None, None] * rng.normal(size=3)
    return Measurement(hull=points, points=points, lowest=points[..., 2].min(axis=1))


def scene_of(measurement: Measurement, seed: int = 0, views: int = 5, height: int = 96, width: int = 160) -> Scene:
    times_s = tuple(np.linspace(0.0, 1.0, len(measurement.points)).tolist())
    return build_scene(
        [Actor("a.glb", "clip")],
        times_s,
        measurement,
        views=views,
        height=height,
        width=width,
        samples=4,
        rng=np.random.default_rng(seed),
        camera=CameraSettings(),
        light=LightSettings(),
    )


def test_normalised_assets_lie_in_the_smallest_ball_of_one_metre() -> None:
    for seed in range(10):
        measurement = measurement_of(seed, size=0.01, far=1000.0)
        points = normalisation_of(measurement).apply(measurement.hull).reshape(-1, 3)
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1.0)
        for other in np.random.default_rng(seed).normal(size=(20, 3)):  # no ball around another centre is smaller
            assert np.linalg.norm(points - 0.05 * other, axis=1).max() > 0.997


def test_a_single_view_and_a_single_time_are_enough() -> None:
    scene = scene_of(measurement_of(0, times=1), views=1)
    assert len(scene.cameras) == len(scene.times_s) == 1


def test_the_scene_follows_from_the_seed_and_survives_json() -> None:
    measurement = measurement_of(1)
    scene = scene_of(measurement, 5)
    assert scene == scene_of(measurement, 5)
    assert scene != scene_of(measurement, 6)
    assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_times_stay_in_the_clip_and_keep_the_rate_where_it_is_long_enough() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        clip = Clip("c", rng.uniform(0, 2), rng.uniform(0.1, 3))
        times = np.array(sample_times(clip, 8, 0.125, rng))
        assert times[0] >= clip.start_s - 1e-9
        assert times[-1] <= clip.start_s + clip.duration_s + 1e-9
        assert np.allclose(np.diff(times), min(1 / 8, clip.duration_s / 7))
