from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fourreal.datagen.synthesis import footprint, plan_warp, synthesize
from fourreal.datagen.view_paths import FAMILIES, place

families = st.sampled_from(sorted(FAMILIES))
seeds = st.integers(0, 2**32 - 1)
magnitudes = st.floats(0.0, 2.0)


@settings(max_examples=300, deadline=None)
@given(families, seeds, magnitudes, st.integers(1, 16))
def test_paths_start_at_identity_and_are_smooth(family: str, seed: int, magnitude: float, views: int) -> None:
    path = FAMILIES[family](views, np.random.default_rng(seed), magnitude)
    np.testing.assert_allclose(path[0], np.eye(3), atol=1e-12)
    again = FAMILIES[family](views, np.random.default_rng(seed), magnitude)
    assert np.array_equal(path, again)
    if views > 3:
        step, bend = np.abs(np.diff(path, axis=0)), np.abs(np.diff(path, 2, axis=0))
        assert bend.max() <= 1.2 * step.max() + 1e-12  # no view jumps away from its neighbours


@settings(max_examples=300, deadline=None)
@given(families, seeds, magnitudes, st.integers(1, 12), st.integers(64, 2000), st.integers(64, 2000))
def test_no_view_ever_leaves_the_image(
    family: str, seed: int, magnitude: float, views: int, source_width: int, source_height: int
) -> None:
    rng = np.random.default_rng(seed)
    path = FAMILIES[family](views, rng, magnitude)
    H, W = 16, 24
    placed = place(path, W / H, 2 / H, (source_width, source_height), np.random.default_rng(seed))
    assume(placed.scale >= H)  # a smaller source is refused: it would have to be enlarged
    warp = plan_warp(path, (source_width, source_height), H, W, rng)
    corners = footprint(warp, H, W)
    assert np.all(corners >= 0.5)
    assert np.all(corners <= np.array(warp.shrunk_size) - 0.5)


@settings(max_examples=100, deadline=None)
@given(families, seeds, magnitudes)
def test_the_views_use_all_the_room_there_is(family: str, seed: int, magnitude: float) -> None:
    rng = np.random.default_rng(seed)
    path = FAMILIES[family](8, rng, magnitude)
    placed = place(path, 1.5, 0.0, (900, 600), rng)
    corners = np.array([[x, y, 1.0] for x in (-0.75, 0.75) for y in (-0.5, 0.5)])
    mapped = np.einsum("vij,cj->vci", path, corners)
    points = placed.scale * mapped[..., :2] / mapped[..., 2:] + [placed.left, placed.top]
    low, high = points.reshape(-1, 2).min(axis=0), points.reshape(-1, 2).max(axis=0)
    assert np.all(low > -1e-6)
    assert np.all(high < np.array([900, 600]) + 1e-6)
    assert np.any(np.isclose(high - low, [900, 600]))


def _smooth_picture(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return np.stack([127 + 100 * np.sin(0.02 * x) * np.cos(0.03 * y), 2 * x % 1 + x / 4, y / 2], axis=-1)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_homographies_say_where_every_pixel_went(family: str) -> None:
    """Reading view 0's scene at the inverse homography of a view's pixels gives that view."""
    rng = np.random.default_rng(3)
    H, W = 60, 90
    source = _smooth_picture(600, 400)
    warp = plan_warp(FAMILIES[family](5, rng, 1.5), (600, 400), H, W, rng)
    views = synthesize(source[None].astype(np.uint8), warp, H, W)[:, 0]
    factor = np.array([600, 400]) / warp.shrunk_size
    y, x = np.mgrid[0:H, 0:W] + 0.5
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
    for v in range(5):
        in_view0 = pixels @ np.linalg.inv(warp.homographies[v]).T
        in_view0 = in_view0[..., :2] / in_view0[..., 2:]
        at = (in_view0 + np.array([warp.left, warp.top])) * factor
        expected = 127 + 100 * np.sin(0.02 * at[..., 0]) * np.cos(0.03 * at[..., 1])
        error = np.abs(views[v, ..., 0] - expected)
        # The input is quantised and OpenCV samples at 1/32 pixel; a shift of a tenth of a pixel would show.
        assert error.mean() < 0.7
        assert error.max() < 3.0


def test_motion_along_views_is_the_paths_alone_and_along_time_the_scenes_alone() -> None:
    rng = np.random.default_rng(0)
    still = np.repeat(_smooth_picture(300, 200)[None].astype(np.uint8), 3, axis=0)
    warp = plan_warp(FAMILIES["affine"](4, rng, 1.0), (300, 200), 48, 72, rng)
    frames = synthesize(still, warp, 48, 72)
    assert np.array_equal(frames[:, 0], frames[:, 2])
    assert np.abs(frames[3].astype(int) - frames[0]).max() > 5
    identity = plan_warp(FAMILIES["affine"](4, rng, 0.0), (300, 200), 48, 72, rng)
    frames = synthesize(still, identity, 48, 72)
    assert np.array_equal(frames[0], frames[3])


def test_view_0_is_a_slice_of_the_source_where_sizes_agree() -> None:
    rng = np.random.default_rng(1)
    source = rng.integers(0, 256, (1, 52, 80, 3), dtype=np.uint8)  # as large as the views with their margin
    warp = plan_warp(FAMILIES["affine"](3, rng, 0.0), (80, 52), 48, 72, rng)
    assert warp.shrunk_size == (80, 52)
    view0 = synthesize(source, warp, 48, 72)[0, 0]
    assert np.array_equal(view0, source[0, warp.top : warp.top + 48, warp.left : warp.left + 72])


def test_a_source_that_would_have_to_be_enlarged_is_refused_with_what_would_do() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match=r"80x52.*at most 7\dx4\d would do"):
        plan_warp(FAMILIES["affine"](3, rng, 0.0), (80, 52), 96, 144, rng)
