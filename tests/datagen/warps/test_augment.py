from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.datagen.warps.test_paths import draw
from tests.datagen.warps.test_resampling import pattern, places_of
from tests.datagen.warps.test_synthesis import moving_clip

from fourreal.datagen.warps.augment import Augmentation, augment, flip, reverse_time, reverse_views
from fourreal.datagen.warps.placement import plan_warp
from fourreal.datagen.warps.synthesis import Views, synthesize

H, W = 40, 64
EACH = [reverse_views, reverse_time, flip]


def views_of(seed: int, views: int = 4) -> Views:
    path = draw("homography", views, W / H, seed, 1.0)
    warp = plan_warp(path, (120, 80), H, W, np.random.default_rng(seed))
    made = synthesize(moving_clip(2, *warp.shrunk_size), 2, warp, H, W)
    return Views(made.frames, made.homographies, np.ascontiguousarray(made.frames[..., 0]))


def _same(a: Views, b: Views) -> None:
    assert np.array_equal(a.frames, b.frames)
    assert a.mask is not None
    assert b.mask is not None
    assert np.array_equal(a.mask, b.mask)
    np.testing.assert_allclose(a.homographies, b.homographies, rtol=1e-9, atol=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(EACH), st.integers(1, 5))
def test_twice_is_not_at_all(seed: int, function: object, count: int) -> None:
    views = views_of(seed, count)
    _same(function(function(views)), views)  # type: ignore[operator]


@pytest.mark.parametrize("function", EACH)
def test_mask_and_frames_go_together_and_something_changes(function: object) -> None:
    views = function(views_of(1))  # type: ignore[operator]
    assert np.array_equal(views.mask, views.frames[..., 0])
    assert not np.array_equal(views.frames, views_of(1).frames)
    np.testing.assert_allclose(views.homographies[:, 0], np.eye(3)[None], atol=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from(EACH), max_size=4))
def test_homographies_still_lead_from_view_0_to_each_view(seed: int, functions: list[object]) -> None:
    views = views_of(seed)
    for function in functions:
        views = function(views)  # type: ignore[operator]
    # Points of view 0, looked up in view v: the same grey levels, to what the nearest pixels differ by.
    for v in range(1, 4):
        x, y = places_of(views.homographies[0, v], H, W)
        inside = (x > 1) & (x < W - 1) & (y > 1) & (y < H - 1)
        seen = _bilinear(views.frames[v, 1, ..., 0].astype(float), x, y)
        error = np.abs(seen - views.frames[0, 1, ..., 0])[inside]
        assert inside.mean() > 0.2
        assert error.mean() < 2.5  # a shift of half a pixel would give 6


def _bilinear(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    column, row = np.clip(x - 0.5, 0, W - 1.001), np.clip(y - 0.5, 0, H - 1.001)
    i, j = row.astype(int), column.astype(int)
    a, b = row - i, column - j
    top = image[i, j] * (1 - b) + image[i, j + 1] * b
    return np.asarray(top * (1 - a) + (image[i + 1, j] * (1 - b) + image[i + 1, j + 1] * b) * a)


def test_about_half_are_augmented_and_it_is_said_which() -> None:
    views = views_of(2)
    names: tuple[Augmentation, ...] = ("reverse-views", "flip")
    counts = {"reverse-views": 0, "flip": 0}
    for seed in range(60):
        made, applied = augment(views, names, np.random.default_rng(seed))
        expected = views
        for name, function in (("reverse-views", reverse_views), ("flip", flip)):
            if name in applied:
                expected = function(expected)
                counts[name] += 1
        _same(made, expected)
    assert all(15 < count < 45 for count in counts.values())
    made, applied = augment(views, (), np.random.default_rng(0))
    _same(made, views)
    assert applied == []


def test_the_pattern_is_steep_enough_to_tell_a_shift() -> None:
    y, x = np.mgrid[0:H, 0:W] + 0.5
    assert np.abs(pattern(x + 0.5, y) - pattern(x, y)).mean() > 5.0
