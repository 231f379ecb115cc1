"""The share of the reference's gradient energy that is there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from synthetic_grids import make_grid

from fourreal.evaluation.metrics import Comparison, Sharpness


def test_half_the_contrast_is_a_quarter_of_the_energy() -> None:
    reference = (make_grid().frames[1] // 2) * 2
    assert Sharpness().compute(Comparison("k", reference, reference)).value == 1.0
    grey = np.repeat(reference[..., :1], 3, axis=-1)
    score = Sharpness().compute(Comparison("k", grey // 2, grey))
    assert score.value == pytest.approx(0.25)
    assert score.frames == 4


def test_blur_is_less_and_noise_is_more() -> None:
    reference = make_grid().frames[1]
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in reference])
    noisy = np.clip(reference + np.random.default_rng(0).normal(0, 40, reference.shape), 0, 255).astype(np.uint8)
    assert Sharpness().compute(Comparison("k", blurred, reference)).value < 0.5  # type: ignore[operator]
    assert Sharpness().compute(Comparison("k", noisy, reference)).value > 1.2  # type: ignore[operator]


def test_the_foreground_alone_counts_where_it_is_asked_for() -> None:
    grid = make_grid()
    reference, mask = grid.frames[1], grid.mask
    assert mask is not None
    outside = np.where(
        cv2.dilate(mask[1].transpose(1, 2, 0), np.ones((3, 3))).transpose(2, 0, 1)[..., None] > 0, reference, 0
    )
    sample = Comparison("k", outside.astype(np.uint8), reference, mask[1])
    assert Sharpness(foreground=True).compute(sample).value == pytest.approx(1.0)
    assert Sharpness().compute(sample).value != pytest.approx(1.0, abs=0.05)
    nothing = Comparison("k", reference, reference, np.zeros_like(mask[1]))
    assert "no generated frame" in Sharpness(foreground=True).compute(nothing).reason
    flat = np.full_like(reference, 9)
    assert "no detail" in Sharpness().compute(Comparison("k", reference, flat)).reason
