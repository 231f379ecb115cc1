from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_grids import make_grid

from fourreal.evaluation.baselines import BASELINES, Frames, blur_sigma_px


def _run(name: str, frames: Frames) -> Frames:
    return BASELINES[name](frames[:, 0], frames[0])


@pytest.mark.parametrize("name", BASELINES)
def test_given_frames_come_back_as_they_are(name: str) -> None:
    frames = make_grid().frames
    predicted = _run(name, frames)
    assert predicted.dtype == np.uint8
    assert predicted.shape == frames.shape
    np.testing.assert_array_equal(predicted[:, 0], frames[:, 0])
    np.testing.assert_array_equal(predicted[0], frames[0])


@pytest.mark.parametrize("name", ["copy along time", "additive"])
def test_exact_on_a_static_scene(name: str) -> None:
    frames = make_grid(time_step_px=0).frames
    np.testing.assert_array_equal(_run(name, frames), frames)


@pytest.mark.parametrize("name", ["copy along views", "additive"])
def test_exact_with_a_still_camera(name: str) -> None:
    one_view = make_grid(views=1).frames
    frames = np.repeat(one_view, 3, axis=0)
    np.testing.assert_array_equal(_run(name, frames), frames)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
def test_additive_is_exact_where_view_and_time_just_add(seed: int, views: int, times: int) -> None:
    rng = np.random.default_rng(seed)
    of_view = rng.integers(0, 128, (views, 1, 4, 5, 3))
    of_time = rng.integers(0, 128, (1, times, 4, 5, 3))
    frames = (of_view + of_time).astype(np.uint8)
    np.testing.assert_array_equal(_run("additive", frames), frames)


def test_additive_clips_instead_of_wrapping() -> None:
    frames = np.zeros((2, 2, 1, 1, 3), np.uint8)
    frames[1, 0] = frames[0, 1] = 200
    assert _run("additive", frames)[1, 1].tolist() == [[[255, 255, 255]]]


def test_average_lies_half_way_between_the_copies() -> None:
    frames = make_grid().frames
    over_time, over_views, mean = (
        _run(name, frames)[1:, 1:].astype(float) for name in ("copy along time", "copy along views", "average")
    )
    assert np.abs(mean - (over_time + over_views) / 2).max() <= 0.5


def test_blurred_average_is_smoother_and_keeps_the_mean() -> None:
    frames = make_grid(height=48, width=64).frames
    sharp, soft = (_run(name, frames)[1:, 1:].astype(float) for name in ("average", "blurred average"))
    assert (np.diff(soft, axis=3) ** 2).mean() < 0.5 * (np.diff(sharp, axis=3) ** 2).mean()
    assert soft.mean() == pytest.approx(sharp.mean(), abs=1)
    assert blur_sigma_px(64) == 2.0


def test_videos_that_do_not_share_their_first_frame_are_refused() -> None:
    frames = make_grid().frames
    with pytest.raises(ValueError, match="share their first frame"):
        BASELINES["average"](frames[:, 0], frames[1])
