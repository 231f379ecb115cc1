"""The compact sequence: what goes in comes out, as near as its bytes allow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.evaluation.ball_scene import T, V, moving_ball

from fourreal.evaluation.reconstruction import FitSettings, FittedScene, Observations, fit, rasterize, time_of
from fourreal.evaluation.reconstruction.ply import write_ply
from fourreal.evaluation.reconstruction.sequence_file import dump_sequence, read_sequence, up_of


@pytest.fixture(scope="module")
def observations() -> Observations:
    return Observations.of_grid(moving_ball())


@pytest.fixture(scope="module")
def scene(observations: Observations) -> FittedScene:
    return fit(observations, torch.ones(V, T, dtype=torch.bool), FitSettings(steps=40, initial_points=300))


def test_the_sequence_renders_as_the_scene_does(scene: FittedScene, observations: Observations) -> None:
    moments, facts = read_sequence(dump_sequence(scene, observations, T))
    assert facts["times"] == len(moments) == T
    camera = observations.cameras[3]
    for t in range(T):
        background = scene.environment(camera).detach()
        one, other = (rasterize(g, camera, background).colour for g in (scene.at(time_of(t, T)), moments[t]))
        assert (one - other).abs().max() < 0.02
        assert (one - other).abs().mean() < 0.002


def test_the_sequence_is_small(scene: FittedScene, observations: Observations) -> None:
    plys = sum(len(write_ply(scene.at(time_of(t, T)))) for t in range(T))
    assert len(dump_sequence(scene, observations, T)) < plys / 3 + 4096  # the header and what lies behind


def test_up_is_what_the_cameras_do_not_roll_about(observations: Observations) -> None:
    assert np.allclose(up_of(observations), [0, 0, 1], atol=1e-5)  # an orbit with z up, looking down at the ball
