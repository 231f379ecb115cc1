"""Metrics of change along time and of geometry between views, on pictures whose truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fourreal.evaluation.metrics import (
    TSED,
    Comparison,
    DynamicDegree,
    EpipolarInliers,
    Flicker,
    WarpingError,
    all_metrics,
    choose_metrics,
    epipolar,
)
from fourreal.evaluation.metrics.epipolar import fundamental, inlier_share, keypoints, match, symmetric_distance
from fourreal.platform.cameras import intrinsics, orbit
from fourreal.platform.errors import UserError

H, W = 96, 128


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs of several sizes: what SIFT and flow both find."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.uniform(0, 255, (height // n, width // n, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        for n in (4, 8, 16)
    ]
    return np.mean(layers, axis=0).clip(0, 255).astype(np.uint8)


def comparison(grid: np.ndarray, cameras: tuple[np.ndarray, np.ndarray] | None = None) -> Comparison:
    return Comparison("k", grid.reshape(-1, *grid.shape[2:]), grid=grid, cameras=cameras)


def sliding(step_px: int, views: int = 1, times: int = 4) -> np.ndarray:
    wide = texture(H, W + step_px * times)
    video = np.stack([wide[:, step_px * t : step_px * t + W] for t in range(times)])
    return np.repeat(video[None], views, axis=0)


def around_a_wall(views: int = 4) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """A textured plane through the origin from cameras on an arc, with their true cameras."""
    K = intrinsics(W, H, vertical_fov=0.7)
    poses = orbit(np.linspace(-0.3, 0.3, views), 0.2, 3.0)
    wall = texture(256, 256, 1)
    frames = []
    for pose in poses:
        # The plane x = 0, with (y, z) from -1.5 to 1.5 over the texture.
        plane = np.array([[0, 0, 0], [3 / 256, 0, -1.5], [0, -3 / 256, 1.5]])
        to_pixels = K @ (pose[:3, :3] @ plane + np.outer(pose[:3, 3], [0, 0, 1]))
        shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        matrix = np.linalg.inv(shift) @ to_pixels @ shift  # to OpenCV's pixels, whose centres are whole numbers
        frames.append(cv2.warpPerspective(wall, matrix, (W, H), flags=cv2.INTER_LINEAR))
    return np.stack(frames)[:, None], (np.repeat(K[None], views, axis=0), poses)


def test_flicker_is_blind_to_steady_change_and_counts_the_rest() -> None:
    level = np.full((1, 5, 8, 8, 3), 100, np.uint8)
    steady = level + (10 * np.arange(5, dtype=np.uint8))[None, :, None, None, None]
    blinking = level + (10 * (np.arange(5, dtype=np.uint8) % 2))[None, :, None, None, None]
    assert Flicker().compute(comparison(steady)).value == 0.0
    score = Flicker().compute(comparison(blinking))
    assert (score.value, score.frames) == (10.0, 3)
    assert "3 times" in Flicker().compute(comparison(level[:, :2])).reason


def test_warping_error_forgives_motion_and_nothing_else() -> None:
    moving = sliding(3)
    error = WarpingError().compute(comparison(moving)).value
    assert error is not None
    plain = float((np.diff(moving.astype(float) / 255, axis=1) ** 2).mean())
    assert error < 0.05 * plain
    noisy = moving + np.random.default_rng(0).integers(0, 40, moving.shape).astype(np.uint8) // 2
    worse = WarpingError().compute(comparison(noisy)).value
    assert worse is not None
    assert worse > 2 * error
    assert WarpingError().compute(comparison(sliding(0))).value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("step_px", [0, 2, 5])
def test_dynamic_degree_is_the_speed_of_what_moves(step_px: int) -> None:
    value = DynamicDegree().compute(comparison(sliding(step_px))).value
    assert value == pytest.approx(100 * step_px / H, rel=0.15, abs=0.05)


def test_frames_too_small_for_flow_are_said_to_be() -> None:
    tiny = np.zeros((1, 3, 16, 16, 3), np.uint8)
    for metric in (WarpingError(), DynamicDegree()):
        assert "too small" in metric.compute(comparison(tiny)).reason


def test_points_of_one_scene_lie_on_each_others_epipolar_lines() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (50, 3))
    K, poses = intrinsics(W, H, vertical_fov=0.7), orbit([0.0, 0.4], 0.3, 3.0)
    pixels = []
    for pose in poses:
        seen = (points @ pose[:3, :3].T + pose[:3, 3]) @ K.T
        pixels.append(seen[:, :2] / seen[:, 2:])
    matrix = fundamental(K, poses[0], K, poses[1])
    assert symmetric_distance(matrix, *pixels).max() < 1e-9
    lines = np.c_[pixels[0], np.ones(50)] @ matrix.T
    normal = lines[:, :2] / np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    off = symmetric_distance(matrix, pixels[0], pixels[1] + 3 * normal)
    assert off == pytest.approx(3.0, rel=0.25)  # 3 px from one line, about 3 from the other


def test_matches_of_a_shifted_picture_say_how_far() -> None:
    wide = texture(H, W + 9)
    one, other = match(keypoints(wide[:, 9:]), keypoints(wide[:, :-9]))
    assert len(one) > 30
    assert np.median(other - one, axis=0) == pytest.approx([9.0, 0.0], abs=0.1)
    assert match(keypoints(np.zeros((H, W, 3), np.uint8)), keypoints(wide[:, :W]))[0].shape == (0, 2)


def test_views_agree_with_their_cameras_and_not_with_others() -> None:
    grid, (K, poses) = around_a_wall()
    assert TSED().compute(comparison(grid, (K, poses))).value == 1.0
    lowered = poses.copy()
    lowered[1::2, 1, 3] += 0.4
    assert TSED().compute(comparison(grid, (K, lowered))).value == 0.0
    assert TSED().compute(comparison(grid)).reason == "the grid has no cameras"
    inliers = EpipolarInliers().compute(comparison(grid)).value
    assert inliers is not None
    assert inliers > 0.9


def test_both_metrics_of_matches_look_for_points_in_each_frame_once(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, cameras = around_a_wall()
    alone = TSED().compute(comparison(grid, cameras)).value, EpipolarInliers().compute(comparison(grid, cameras)).value
    seen, found = [], epipolar.keypoints
    monkeypatch.setattr(epipolar, "keypoints", lambda image: seen.append(1) or found(image))
    sample = comparison(grid, cameras)
    assert (TSED().compute(sample).value, EpipolarInliers().compute(sample).value) == alone
    assert len(seen) == grid.shape[0] * grid.shape[1]


def test_cameras_without_epipolar_lines_are_refused_not_scored() -> None:
    grid, (K, poses) = around_a_wall()
    still = np.repeat(poses[:1], len(poses), axis=0)
    assert "views 0 and 1 stand in one place" in TSED().compute(comparison(grid, (K, still))).reason
    for broken in (np.full_like(poses, np.nan), np.zeros_like(poses)):
        assert "poses are not finite or cannot be inverted" in TSED().compute(comparison(grid, (K, broken))).reason
    assert "intrinsics" in TSED().compute(comparison(grid, (np.zeros_like(K), poses))).reason


def test_views_without_anything_in_common_have_no_score() -> None:
    strangers = np.stack([texture(H, W, seed) for seed in range(3)])[:, None]
    score = EpipolarInliers().compute(comparison(strangers))
    assert score.value is None or score.value < 0.8
    blank = EpipolarInliers().compute(comparison(np.zeros_like(strangers)))
    assert "none of 2 pairs" in blank.reason
    assert "one view" in EpipolarInliers().compute(comparison(strangers[:1])).reason


def test_matches_that_no_geometry_can_be_made_of_count_as_unexplained() -> None:
    # Twelve matches of two views that a model had made of CesiumMilkTruck: OpenCV's assertion failed in them.
    one = np.array([
        [8.145011901855469, 15.180314540863037], [8.52127718925476, 7.470407009124756],
        [9.664599895477295, 5.569718599319458], [10.307782173156738, 17.38811731338501],
        [11.294511079788208, 6.580777645111084], [12.598395824432373, 18.52337121963501],
        [14.388331890106201, 15.279513359069824], [15.022796630859375, 7.250488042831421],
        [15.022796630859375, 7.250488042831421], [15.194486618041992, 16.884271144866943],
        [16.58843421936035, 11.506072282791138], [16.58843421936035, 11.506072282791138],
    ])  # fmt: skip
    other = np.array([
        [8.36056137084961, 15.46241569519043], [8.790947198867798, 7.513750791549683],
        [9.699106693267822, 5.444287419319153], [10.071719884872437, 17.541101932525635],
        [11.481233596801758, 6.596710681915283], [13.353414058685303, 18.510616779327393],
        [14.688058376312256, 15.660356998443604], [14.906571865081787, 7.217336654663086],
        [14.906571865081787, 7.217336654663086], [15.272578239440918, 17.250020027160645],
        [6.375106573104858, 10.620926141738892], [6.375106573104858, 10.620926141738892],
    ])  # fmt: skip
    assert inlier_share(one, other) == 0.0
    rng = np.random.default_rng(0)
    moved = rng.uniform(0, 24, (40, 2))
    assert inlier_share(moved, np.add(moved, [1.0, 0.0])) > 0.9


def test_metrics_are_chosen_by_name() -> None:
    assert [metric.name for metric in choose_metrics(["tsed", "psnr", "tsed"])] == ["tsed", "psnr"]
    assert all(metric.definition for metric in all_metrics().values())
    with pytest.raises(UserError, match="no metric 'fvd9': choose from psnr"):
        choose_metrics(["fvd9"])
    with pytest.raises(UserError, match="names none"):
        choose_metrics([])
