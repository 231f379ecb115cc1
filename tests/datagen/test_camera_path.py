"""Paths of cameras: continuous, and with the asset in the frame from all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.datagen.test_scene import measurement_of

from fourreal.datagen.blender.camera_path import CameraSettings, distance_for, draw_path
from fourreal.datagen.blender.framing import build_scene
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.scene import Actor, Measurement, Scene
from fourreal.platform.cameras import camera_centre, project
from fourreal.platform.errors import UserError

WIDE = CameraSettings(
    arc_degrees=(10.0, 300.0),
    elevation_degrees=(-50.0, 60.0),
    elevation_change_degrees=20.0,
    distance_change=0.3,
    fov_degrees=(15.0, 60.0),
    fill=(0.65, 0.9),
)
cameras = st.builds(lambda path: replace(WIDE, path=path), st.sampled_from(["arc", "orbit"]))


def scene_of(measurement: Measurement, camera: CameraSettings, seed: int, size: tuple[int, int], views: int) -> Scene:
    times_s = tuple(range(len(measurement.hull)))
    return build_scene(
        [Actor("a.glb", "clip")],
        times_s,
        measurement,
        views=views,
        height=size[0],
        width=size[1],
        samples=4,
        rng=np.random.default_rng(seed),
        camera=camera,
        light=LightSettings(),
    )


def degrees_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    return np.degrees(np.arccos(np.clip((a * b).sum(axis=-1), -1.0, 1.0)))


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    camera=cameras,
    size=st.sampled_from([(96, 160), (160, 96), (64, 64)]),
    views=st.integers(1, 9),
    points=st.sampled_from([3, 4, 6, 64]),
)
def test_the_asset_stays_in_every_frame_and_fills_60_to_90_percent(
    seed: int, camera: CameraSettings, size: tuple[int, int], views: int, points: int
) -> None:
    rng = np.random.default_rng(seed)
    cloud = rng.normal(size=(1, points, 3)) * rng.uniform(0.1, 1.0, size=3) * 10.0 ** rng.uniform(-3, 3)
    cloud = cloud + rng.normal() * np.linspace(0.0, 1.0, 3)[:, None, None] * np.ptp(cloud)
    scene = scene_of(Measurement(cloud, cloud, cloud[..., 2].min(axis=1)), camera, seed, size, views)
    extents = []
    for view in scene.cameras:
        world = scene.actors[0].placement.apply(cloud).reshape(-1, 3)
        pixels, depth = project(world, view.intrinsics_matrix(), view.world_to_camera_matrix())
        assert depth.min() > 0
        assert pixels.min() >= 0
        assert (pixels.max(axis=0) <= [size[1], size[0]]).all()
        extents.append(np.ptp(pixels, axis=0).max())
    assert 0.6 <= max(extents) / min(size) <= 0.9 + 1e-6


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), views=st.integers(2, 24), camera=cameras)
def test_neighbouring_views_are_neighbours_on_a_continuous_path(seed: int, views: int, camera: CameraSettings) -> None:
    """Twice the views on the same path halve the steps: there is no jump anywhere."""
    coarse, fine = (
        draw_path(camera, n, 96, 160, np.random.default_rng(seed)) for n in (views, 2 * views - (camera.path == "arc"))
    )
    closes = camera.path == "orbit"
    for path in (coarse, fine):
        around = np.diff(path.azimuth)
        assert np.allclose(around, around[0])
        if closes:
            assert abs(around[0]) * len(path.azimuth) == pytest.approx(2.0 * np.pi)
    for name in ("azimuth", "elevation", "stretch"):
        assert np.allclose(getattr(fine, name)[::2], getattr(coarse, name))
    centres = camera_centre(fine.poses(2.0))
    following = np.roll(centres, -1, axis=0) if closes else centres[1:]
    steps = degrees_between(centres[: len(following)], following)
    even = np.degrees(abs(fine.azimuth[1] - fine.azimuth[0]))
    rise = np.degrees(np.abs(np.diff(fine.elevation, append=fine.elevation[:1] if closes else [])).max())
    assert steps.max() <= even + rise + 1e-6
    assert np.ptp(fine.elevation) <= np.radians(20.0) + 1e-9
    assert np.ptp(fine.stretch) <= 0.3 + 1e-9


def test_what_is_wide_may_fill_the_width_of_a_frame() -> None:
    row = np.random.default_rng(0).uniform([-1.0, -1.0, -0.2], [1.0, 1.0, 0.2], size=(200, 3))
    path = draw_path(CameraSettings(elevation_degrees=(5.0, 5.0)), 4, 96, 160, np.random.default_rng(1))
    extents = []
    for each_side in (False, True):
        poses = path.poses(distance_for(path, row, 0.8, each_side=each_side))
        seen = [np.ptp(project(row, path.lens, pose)[0], axis=0) for pose in poses]
        extents.append(np.max(seen, axis=0))
    assert extents[0].max() == pytest.approx(0.8 * 96, rel=1e-3)
    assert extents[1][0] == pytest.approx(0.8 * 160, rel=1e-3)
    assert extents[1][1] < 0.8 * 96


def test_default_cameras_look_at_the_asset_upright_and_start_anywhere() -> None:
    starts = []
    for seed in range(16):
        scene = scene_of(measurement_of(seed), CameraSettings(), seed, (96, 160), 8)
        poses = np.stack([camera.world_to_camera_matrix() for camera in scene.cameras])
        rotations = poses[:, :3, :3]
        assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3))
        assert np.allclose(np.linalg.det(rotations), 1.0)
        assert np.allclose(poses[:, :2, 3], 0.0, atol=1e-9)  # the origin lies on every optical axis
        assert (rotations[:, 1, 2] < 0).all()  # y points down, z of the world up
        centres = camera_centre(poses)
        steps = degrees_between(centres[1:], centres[:-1])
        assert steps.max() < 1.2 * steps.min()
        assert 20 < steps.sum() < 100
        starts.append(np.arctan2(centres[0, 1], centres[0, 0]))
    assert np.ptp(starts) > 3.0


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"arc_degrees": (90.0, 30.0)}, r"--camera\.arc-degrees takes two numbers"),
        ({"elevation_degrees": (0.0, 80.0)}, r"--camera\.elevation-degrees takes two numbers"),
        ({"fov_degrees": (0.0, 40.0)}, r"--camera\.fov-degrees"),
        ({"fill": (0.5, 1.2)}, r"--camera\.fill"),
        ({"distance_change": 0.9}, r"--camera\.distance-change must lie between"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        CameraSettings(**setting)  # type: ignore[arg-type]
