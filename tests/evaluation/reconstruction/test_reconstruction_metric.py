"""A grid that is one moving scene scores above the same frames in places that no scene would show them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.evaluation.ball_scene import moving_ball

from fourreal.evaluation.metrics import Comparison, Reconstruction, Unavailable
from fourreal.evaluation.metrics import reconstruction as module


@pytest.mark.slow
def test_one_scene_scores_above_frames_that_do_not_belong_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 120)
    monkeypatch.setattr(module, "POINTS", 300)
    grid = moving_ball()
    assert grid.intrinsics is not None
    assert grid.world_to_camera is not None
    mixed = grid.frames[[0, 3, 1, 4, 2]]

    def score(frames: np.ndarray) -> tuple[float, int]:
        assert grid.intrinsics is not None
        assert grid.world_to_camera is not None
        cameras = (grid.intrinsics, grid.world_to_camera)
        return Reconstruction().measure(Comparison("ball", frames[:, 0], grid=frames, cameras=cameras))

    one_scene, frames = score(grid.frames)
    assert frames == 2 * grid.times
    assert 1 > one_scene > score(mixed)[0] + 0.1


def test_it_is_fitted_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """On several, sums over indices come in another order each time."""
    threads: list[int] = []
    grid, before = moving_ball(), torch.get_num_threads()
    assert grid.intrinsics is not None
    assert grid.world_to_camera is not None
    cameras = (grid.intrinsics, grid.world_to_camera)

    def stop(*_: object) -> None:
        threads.append(torch.get_num_threads())
        raise Unavailable("seen")

    monkeypatch.setattr(module, "fit", stop)
    torch.set_num_threads(2)
    try:
        Reconstruction().compute(Comparison("ball", grid.frames[:, 0], grid=grid.frames, cameras=cameras))
        assert (threads, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_a_grid_of_two_views_has_none() -> None:
    grid = moving_ball()
    assert grid.intrinsics is not None
    assert grid.world_to_camera is not None
    cameras = (grid.intrinsics[:2], grid.world_to_camera[:2])
    answer = Reconstruction().compute(Comparison("ball", grid.frames[:2, 0], grid=grid.frames[:2], cameras=cameras))
    assert answer.value is None
    assert "held out between two others, and the grid has 2" in answer.reason
