from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.datagen.warps.test_paths import draw, families, magnitudes, ratios, seeds

from fourreal.datagen.warps.paths import Array, affine_path
from fourreal.datagen.warps.placement import Warp, place, plan_warp
from fourreal.datagen.warps.resampling import SUPPORT


def footprint(warp: Warp, height: int, width: int) -> Array:
    """Corners `[L * V, 4, 2]` of all views in pixels of the shrunk source."""
    corners = np.array([[x, y, 1.0] for x in (0.0, width) for y in (0.0, height)])
    mapped = np.einsum("vij,cj->vci", warp.view_to_view0.reshape(-1, 3, 3), corners)
    return np.asarray(mapped[..., :2] / mapped[..., 2:] + [warp.left, warp.top])


@settings(max_examples=400)
@given(families, seeds, magnitudes, ratios, st.integers(1, 12), st.integers(64, 3000), st.integers(64, 3000))
def test_no_view_ever_leaves_the_image_and_no_sample_reads_beyond_it(
    family: str, seed: int, magnitude: float, ratio: float, views: int, source_width: int, source_height: int
) -> None:
    rng = np.random.default_rng(seed)
    H, W = 16, 24
    path = draw(family, views, W / H, seed, magnitude, ratio)
    placed = place(path, W / H, (SUPPORT + 1) / H, (source_width, source_height), np.random.default_rng(seed))
    assume(placed.scale >= H)  # a smaller source is refused: it would have to be enlarged
    warp = plan_warp(path, (source_width, source_height), H, W, rng)
    corners = footprint(warp, H, W)
    assert np.all(corners >= SUPPORT - 0.5)  # the outermost pixel centre is half a pixel further in
    assert np.all(corners <= np.array(warp.shrunk_size) - SUPPORT + 0.5)


@settings(max_examples=100)
@given(families, seeds, magnitudes)
def test_the_views_use_all_the_room_there_is(family: str, seed: int, magnitude: float) -> None:
    path = draw(family, 8, 1.5, seed, magnitude)
    placed = place(path, 1.5, 0.0, (900, 600), np.random.default_rng(seed))
    corners = np.array([[x, y, 1.0] for x in (-0.75, 0.75) for y in (-0.5, 0.5)])
    mapped = np.einsum("lvij,cj->lvci", path, corners)
    points = placed.scale * mapped[..., :2] / mapped[..., 2:] + [placed.left, placed.top]
    low, high = points.reshape(-1, 2).min(axis=0), points.reshape(-1, 2).max(axis=0)
    assert np.all(low > -1e-6)
    assert np.all(high < np.array([900, 600]) + 1e-6)
    assert np.any(np.isclose(high - low, [900, 600]))


def test_a_source_that_would_have_to_be_enlarged_is_refused_with_what_would_do() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match=r"80x60.*at most 7\dx4\d would do"):
        plan_warp(affine_path(3, 1.5, rng, 0.0), (80, 60), 96, 144, rng)
