"""Which frames of a sample the base stage is given."""

from __future__ import annotations

import numpy as np

from fourreal.training.data.samples import choose_given
from fourreal.training.settings.groups import MixtureSettings


def _counts(mixture: MixtureSettings, frames: int = 4) -> list[int]:
    rng = np.random.default_rng(0)
    return [int(choose_given("base", (frames,), 0.0, mixture, rng).sum()) for _ in range(400)]


def test_samples_are_given_what_the_mixture_says() -> None:
    assert set(_counts(MixtureSettings())) == {0, 1, 2, 3}
    assert set(_counts(MixtureSettings(first_frame_alone=1.0))) == {1}
    assert set(_counts(MixtureSettings(first_frame_alone=0.5, both_ends=0.5))) == {1, 2}


def test_both_ends_leave_what_lies_between_and_something_to_predict() -> None:
    ends = MixtureSettings(first_frame_alone=0.0, both_ends=1.0)
    rng = np.random.default_rng(0)
    assert choose_given("base", (5,), 0.0, ends, rng).tolist() == [True, False, False, False, True]
    assert choose_given("base", (2,), 0.0, ends, rng).tolist() == [True, False]
    assert choose_given("base", (1,), 0.0, ends, rng).tolist() == [False]
