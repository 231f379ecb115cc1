from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_grids import make_grid

from fourreal.evaluation.fit import Fit

sizes = st.tuples(st.integers(2, 300), st.integers(2, 300))


@settings(max_examples=200)
@given(sizes, sizes)
def test_a_crop_lies_in_the_middle_keeps_the_aspect_and_touches_two_sides(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    fit = Fit.between(source, target)
    assert Fit.from_record(dataclasses.asdict(fit)) == fit
    assert fit.box_height == source[0] or fit.box_width == source[1]
    assert abs(2 * fit.top + fit.box_height - source[0]) <= 1
    assert abs(2 * fit.left + fit.box_width - source[1]) <= 1
    # As near to the wanted aspect as whole pixels allow.
    assert min(
        abs(fit.box_width - fit.box_height * target[1] / target[0]),
        abs(fit.box_height - fit.box_width * target[0] / target[1]),
    ) <= 0.5 + 1e-9 or 1 in (fit.box_height, fit.box_width)


def test_the_same_size_changes_nothing() -> None:
    grid = make_grid()
    fitted = Fit.between((24, 32), (24, 32)).grid(grid)
    np.testing.assert_array_equal(fitted.frames, grid.frames)
    np.testing.assert_array_equal(fitted.mask, grid.mask)
    np.testing.assert_allclose(fitted.homographies, grid.homographies)


def test_smaller_frames_are_means_of_the_pixels_covered() -> None:
    grid = make_grid(height=24, width=40)
    fitted = Fit.between((24, 40), (12, 16)).grid(grid)  # cut to 24x32, then halved
    expected = grid.frames[1, 2, :, 4:36].reshape(12, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(fitted.frames[1, 2] - expected).max() <= 0.51
    assert fitted.mask is not None
    assert fitted.mask.shape == (3, 4, 12, 16)


@pytest.mark.parametrize("mode", ["crop", "stretch"])
@pytest.mark.parametrize("target", [(32, 48), (20, 20)])
def test_cameras_and_homographies_follow_the_pixels(mode: str, target: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    K = np.array([[80.0, 0, 50], [0, 82, 30], [0, 0, 1]])
    H = np.eye(3) + rng.normal(0, 0.01, (3, 4, 3, 3)) * [[1, 1, 30], [1, 1, 30], [0.01, 0.01, 0]]
    grid = dataclasses.replace(
        make_grid(height=60, width=100),
        intrinsics=np.broadcast_to(K, (3, 3, 3)).copy(),
        world_to_camera=np.broadcast_to(np.eye(4), (3, 4, 4)).copy(),
        homographies=H,
    )
    fit = Fit.between((60, 100), target, mode)  # type: ignore[arg-type]
    fitted = fit.grid(grid)

    def moved(points: np.ndarray) -> np.ndarray:  # what cutting and resizing do to positions, said directly
        scale = [fit.width / fit.box_width, fit.height / fit.box_height]
        return (points - [fit.left, fit.top]) * scale

    point = np.array([0.3, -0.2, 2.0])
    before, after = K @ point, fitted.intrinsics[0] @ point  # type: ignore[index]
    np.testing.assert_allclose(after[:2] / after[2], moved(before[:2] / before[2]))
    pixels = rng.uniform(0, 60, (7, 1, 2))
    there = cv2.perspectiveTransform(pixels, H[1, 2])
    there_fitted = cv2.perspectiveTransform(moved(pixels), fitted.homographies[1, 2])  # type: ignore[index]
    np.testing.assert_allclose(there_fitted, moved(there))


@pytest.mark.parametrize(
    "change", [{"top": -1}, {"box_width": 101}, {"height": 0}, {"left": 0.5}, {"extra": 1}, {"top": 1}]
)
def test_a_senseless_record_is_refused(change: dict[str, float]) -> None:
    record = dataclasses.asdict(Fit.between((60, 100), (32, 48)))
    with pytest.raises(ValueError, match="fit"):
        Fit.from_record({**record, **change})
