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
    assert set(_counts(MixtureSettings(first_frame_alone=0.0, least_given=2))) == {2, 3}
    assert set(_counts(MixtureSettings(first_frame_alone=1.0, least_given=2))) == {1}
    assert set(_counts(MixtureSettings(first_frame_alone=0.0, least_given=9))) == {3}  # one is left to predict
