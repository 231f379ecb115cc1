from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourreal.platform import cameras

angle = st.floats(-3.0, 3.0)
elevation = st.floats(-1.4, 1.4)
radius = st.floats(0.5, 20.0)
fov = st.floats(0.2, 2.5)


@given(angle, elevation, radius, fov, st.integers(0, 2**32 - 1))
def test_unproject_inverts_project(a: float, e: float, r: float, f: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    camera, pose = cameras.intrinsics(160, 96, vertical_fov=f), cameras.orbit(a, e, r)[0]
    pixels, depth = rng.uniform(0, 160, (20, 2)), rng.uniform(0.1, 30.0, 20)
    points = cameras.unproject(pixels, depth, camera, pose)
    again, depth_again = cameras.project(points, camera, pose)
    np.testing.assert_allclose(again, pixels, atol=1e-6)
    np.testing.assert_allclose(depth_again, depth, rtol=1e-9)


@given(angle, elevation, radius)
def test_an_orbit_looks_at_its_target_from_its_radius(a: float, e: float, r: float) -> None:
    target = np.array([1.0, -2.0, 0.5])
    pose = cameras.orbit(a, e, r, target)[0]
    pixels, depth = cameras.project(target[None], cameras.intrinsics(100, 60, vertical_fov=1.0), pose)
    np.testing.assert_allclose(pixels, [[50.0, 30.0]], atol=1e-6)
    np.testing.assert_allclose(depth, [r], rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(cameras.camera_centre(pose) - target), r)


@given(angle, elevation, radius)
def test_poses_are_rigid_and_right_handed(a: float, e: float, r: float) -> None:
    rotation = cameras.orbit(a, e, r)[0, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0


@given(angle, elevation, radius)
def test_up_in_the_world_is_up_in_the_picture(a: float, e: float, r: float) -> None:
    camera, pose = cameras.intrinsics(100, 100, vertical_fov=1.0), cameras.orbit(a, e, r)[0]
    pixels, _ = cameras.project([[0, 0, 0], [0, 0, 0.01 * r]], camera, pose)
    assert pixels[1, 1] < pixels[0, 1]


def test_a_camera_on_the_x_axis_sees_y_to_its_right() -> None:
    pose = cameras.orbit(0.0, 0.0, 5.0)[0]
    pixels, _ = cameras.project([[0.0, 1.0, 0.0]], cameras.intrinsics(100, 100, vertical_fov=1.0), pose)
    assert pixels[0, 0] > 50  # looking along -x with z up, +y is on the right


def test_the_field_of_view_spans_the_image() -> None:
    camera = cameras.intrinsics(160, 96, vertical_fov=0.8)
    edge = np.array([[0.0, np.tan(0.4), 1.0]])
    pixels, _ = cameras.project(edge, camera, np.eye(4))
    np.testing.assert_allclose(pixels, [[80.0, 96.0]])


def test_points_behind_have_negative_depth() -> None:
    _, depth = cameras.project([[0.0, 0.0, -1.0]], cameras.intrinsics(10, 10, vertical_fov=1.0), np.eye(4))
    assert depth[0] < 0


def test_pixel_centres_lie_at_half() -> None:
    centres = cameras.pixel_centres(2, 3)
    assert centres.shape == (2, 3, 2)
    assert centres[0, 0].tolist() == [0.5, 0.5]
    assert centres[1, 2].tolist() == [2.5, 1.5]


@pytest.mark.parametrize("bad", [0.0, -1.0, np.pi, 4.0])
def test_impossible_fields_of_view_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="field of view"):
        cameras.intrinsics(10, 10, vertical_fov=bad)


def test_degenerate_poses_are_refused() -> None:
    with pytest.raises(ValueError, match="eye is at"):
        cameras.look_at([1, 1, 1], [1, 1, 1])
    with pytest.raises(ValueError, match="parallel"):
        cameras.look_at([0, 0, 5], [0, 0, 0])
