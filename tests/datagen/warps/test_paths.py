from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourreal.datagen.warps.paths import (
    LARGEST_DEPTH_RATIO,
    LARGEST_MAGNITUDE,
    PLANAR_FAMILIES,
    affine_path,
    homography_path,
    parallax_path,
)

seeds = st.integers(0, 2**32 - 1)
magnitudes = st.floats(0.0, LARGEST_MAGNITUDE)
aspects = st.floats(0.2, 5.0)


def draw(family: str, views: int, aspect: float, seed: int, magnitude: float, ratio: float = 1.5) -> np.ndarray:
    """A path of any family; parallax with a middle layer."""
    rng = np.random.default_rng(seed)
    if family == "parallax":
        return parallax_path(views, aspect, rng, magnitude, [ratio**-0.5, 1.0, ratio**0.5])
    return PLANAR_FAMILIES[family](views, aspect, rng, magnitude)


families = st.sampled_from([*sorted(PLANAR_FAMILIES), "parallax"])
ratios = st.floats(1.0, LARGEST_DEPTH_RATIO)


@settings(max_examples=200)
@given(families, seeds, magnitudes, st.integers(1, 16), aspects, ratios)
def test_paths_start_at_identity_and_are_smooth(
    family: str, seed: int, magnitude: float, views: int, aspect: float, ratio: float
) -> None:
    path = draw(family, views, aspect, seed, magnitude, ratio)
    for matrices in path:
        np.testing.assert_allclose(matrices[0], np.eye(3), atol=1e-12)
        if views > 3:
            step, bend = np.abs(np.diff(matrices, axis=0)), np.abs(np.diff(matrices, 2, axis=0))
            assert bend.max() <= 1.2 * step.max() + 1e-12  # no view jumps away from its neighbours
    assert np.array_equal(path, draw(family, views, aspect, seed, magnitude, ratio))


@settings(max_examples=300)
@given(seeds, magnitudes, aspects, ratios)
def test_no_camera_sees_a_layer_from_behind_or_past_its_edge(
    seed: int, magnitude: float, aspect: float, ratio: float
) -> None:
    corners = np.array([[x, y, 1.0] for x in (-0.5 * aspect, 0.5 * aspect) for y in (-0.5, 0.5)])
    path = draw("parallax", 6, aspect, seed, magnitude, ratio)
    assert np.all(np.einsum("lvij,cj->lvci", path, corners)[..., 2] > 0.0)
    assert np.all(np.linalg.det(path) > 0.0)  # no layer is mirrored


def test_homographies_are_those_of_cameras_before_planes() -> None:
    """Against projection: a point of each plane, seen by the camera that the plane at distance 1 implies."""
    depths = np.array([1.0, 0.8, 1.6])
    path = np.linalg.inv(parallax_path(5, 1.6, np.random.default_rng(4), 1.0, list(1.0 / depths)))
    focal = 0.5 * np.hypot(1.0, 1.6) / np.tan(np.radians(30.0))
    K = np.diag([focal, focal, 1.0])
    # All homographies of a view are R + depth-dependent t n^T: their normalised differences have rank 1, and the
    # differences of the three planes are in proportion to those of 1 / depth.
    for v in range(1, 5):
        scaled = []
        for matrix in path[:, v]:
            euclidean = np.linalg.inv(K) @ matrix @ K
            scaled.append(euclidean / np.sqrt(np.linalg.det(euclidean[:, :2].T @ euclidean[:, :2])) ** 0.5)
        r1, r2 = scaled[0][:, 0], scaled[0][:, 1]
        np.testing.assert_allclose([r1 @ r1, r2 @ r2, r1 @ r2], [1.0, 1.0, 0.0], atol=1e-9)  # columns of a rotation
        third = np.cross(r1, r2)
        translations = [s[:, 2] - third for s in scaled]
        for translation, depth in zip(translations, depths, strict=True):
            np.testing.assert_allclose(translation * depth, translations[0], atol=1e-9)
        assert np.linalg.norm(translations[0]) > 1e-3


@pytest.mark.parametrize("path", [affine_path, homography_path])
def test_the_magnitude_scales_a_path(path: object) -> None:
    def moved(magnitude: float) -> float:
        ends = [path(8, 1.6, np.random.default_rng(s), magnitude)[0, -1] for s in range(40)]  # type: ignore[operator]
        return float(np.mean([np.abs(e - np.eye(3)).max() for e in ends]))

    assert moved(0.0) < 1e-12
    assert 1.7 < moved(1.0) / moved(0.5) < 2.4
