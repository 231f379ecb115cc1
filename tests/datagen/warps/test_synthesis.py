from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from tests.datagen.clip_scenes import texture
from tests.datagen.warps.test_paths import draw
from tests.datagen.warps.test_resampling import pattern, places_of

from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.warps import synthesis
from fourreal.datagen.warps.layers import Layers, layers_from_mask
from fourreal.datagen.warps.paths import parallax_path
from fourreal.datagen.warps.placement import Warp, plan_warp
from fourreal.datagen.warps.synthesis import Memory, Views, synthesize

H, W = 48, 72


def moving_clip(times: int, width: int, height: int) -> np.ndarray:
    """Smooth waves that travel: `[T, h, w, 3]`."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return np.stack([np.stack([pattern(x + 3 * t, y), pattern(y, x), y / 2], -1) for t in range(times)]).astype(
        np.uint8
    )


def warp_of(family: str, seed: int, views: int = 5, magnitude: float = 1.0) -> Warp:
    return plan_warp(draw(family, views, W / H, seed, magnitude), (130, 90), H, W, np.random.default_rng(seed))


@pytest.mark.parametrize("family", ["affine", "homography"])
@pytest.mark.parametrize("seed", range(3))
def test_view_v_at_t_is_view_0_at_t_under_its_homography(family: str, seed: int) -> None:
    warp = warp_of(family, seed)
    clip = moving_clip(3, *warp.shrunk_size)
    views = synthesize(clip, len(clip), warp, H, W)
    for v in range(5):
        at = places_of(np.linalg.inv(views.homographies[0, v]), H, W)
        for t in range(3):
            expected = pattern(at[0] + warp.left + 3 * t, at[1] + warp.top)
            error = np.abs(views.frames[v, t, ..., 0] - np.floor(expected))
            assert error.mean() < 0.6  # a shift of a tenth of a pixel would give 1.2
            assert error.max() < 3.0


@pytest.mark.parametrize("times_the_size", [1, 2])
def test_a_still_clip_stays_still_and_no_motion_gives_the_same_view_again(times_the_size: int) -> None:
    warp = warp_of("affine", 0)
    still = np.repeat(moving_clip(1, *(times_the_size * n for n in warp.shrunk_size)), 3, axis=0)
    frames = synthesize(still, len(still), warp, H, W).frames
    assert np.array_equal(frames[:, 0], frames[:, 2])
    assert np.abs(frames[4].astype(int) - frames[0]).max() > 5
    resting = warp_of("affine", 0, magnitude=0.0)
    clip = moving_clip(2, *(times_the_size * n for n in resting.shrunk_size))
    frames = synthesize(clip, len(clip), resting, H, W).frames
    assert np.abs(frames[0].astype(int) - frames[4]).max() <= 1


@pytest.mark.parametrize("family", ["affine", "homography", "parallax"])
def test_view_0_is_a_slice_of_the_source(family: str) -> None:
    warp = warp_of(family, 2)
    noise = np.random.default_rng(1).integers(0, 256, (2, *warp.shrunk_size[::-1], 3), dtype=np.uint8)
    views = synthesize(noise, 2, warp, H, W, _layers(warp, 2) if family == "parallax" else None)
    assert np.array_equal(views.frames[0], noise[:, warp.top : warp.top + H, warp.left : warp.left + W])


@pytest.mark.parametrize("family", ["affine", "homography"])
@pytest.mark.parametrize("kind", ["noise", "leaves"])
def test_view_0_of_twice_the_resolution_is_the_shrunk_video_to_a_level(family: str, kind: str) -> None:
    """720p to 96x160: the mean of every four pixels of twice the resolution, and what shrinking at once gives."""
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    if kind == "leaves":
        image = texture(3, 720, 1280).astype(np.uint8)
    clip = Clip([av.VideoFrame.from_ndarray(image, format="rgb24")], [0.0])
    warp = plan_warp(draw(family, 5, 160 / 96, 2, 1.0), clip.size, 96, 160, np.random.default_rng(2))
    width, height = warp.shrunk_size
    fine = next(clip.pictures(2 * width, 2 * height))
    view = synthesize([fine], 1, warp, 96, 160).frames[0, 0].astype(float)
    rows, columns = slice(warp.top, warp.top + 96), slice(warp.left, warp.left + 160)
    assert np.abs(view - fine.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))[rows, columns]).max() <= 0.5
    assert np.abs(view - next(clip.pictures(width, height))[rows, columns]).max() <= 1.0
    whole = cv2.resize(image.astype(np.float64), (width, height), interpolation=cv2.INTER_AREA)[rows, columns]
    if kind == "leaves":  # swscale's weights are coarse: on noise they show more
        assert np.sqrt(((view - whole) ** 2).mean()) < 0.5


@pytest.mark.parametrize("family", ["affine", "homography"])
def test_doubling_only_what_views_read_changes_no_pixel(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    warp = warp_of(family, 3)
    noise = np.random.default_rng(1).integers(0, 256, (1, *warp.shrunk_size[::-1], 3), dtype=np.uint8)
    frames = synthesize(noise, 1, warp, H, W).frames
    w, h = warp.shrunk_size
    monkeypatch.setattr(synthesis, "part_read", lambda *_: (slice(0, h), slice(0, w)))
    differing = np.any(frames != synthesize(noise, 1, warp, H, W).frames, axis=-1)
    assert differing.mean() < 1e-3  # places that lie just between two of OpenCV's steps


def _layers(warp: Warp, times: int) -> Layers:
    """Three layers, one in the other, as `draw` makes their paths."""
    w, h = warp.shrunk_size
    coverage = np.zeros((2, times, h, w), np.float32)
    coverage[0, :, h // 5 : -h // 5, w // 5 : -w // 5] = 1.0
    coverage[1, :, h // 3 : -h // 3, w // 3 : -w // 3] = 1.0
    return Layers((1.5**-0.5, 1.0, 1.5**0.5), coverage)


def two_layers(seed: int) -> tuple[np.ndarray, Warp, Views]:
    """A bright square before travelling waves: the clip's first channel is the waves, its third the square."""
    source = (150, 110)
    mask = np.zeros((2, *source[::-1]), np.uint8)
    mask[:, 40:70, 60:95] = 255
    layers = layers_from_mask(mask, 1.8)
    path = parallax_path(5, W / H, np.random.default_rng(seed), 1.0, layers.inverse_depths)
    warp = plan_warp(path, source, H, W, np.random.default_rng(seed))
    soft = layers.softened(warp.shrunk_size)
    clip = moving_clip(2, *warp.shrunk_size).astype(np.float32)
    clip[..., 2] = 40.0
    clip[..., 0] = 200.0 * soft.coverage[0] + clip[..., 0] * (1 - soft.coverage[0])
    clip[..., 2] = 240.0 * soft.coverage[0] + clip[..., 2] * (1 - soft.coverage[0])
    return soft.coverage, warp, synthesize(np.round(clip).astype(np.uint8), 2, warp, H, W, soft)


@pytest.mark.parametrize("seed", range(4))
def test_each_layer_moves_by_its_own_homography(seed: int) -> None:
    coverage, warp, views = two_layers(seed)
    assert views.mask is not None
    for v in range(5):
        x, y = places_of(np.linalg.inv(views.homographies[1, v]), H, W)
        column, row = (np.clip(np.round(a - 0.5).astype(int), 0, None) for a in (x + warp.left, y + warp.top))
        inside = coverage[0, 0][np.minimum(row, coverage.shape[2] - 1), np.minimum(column, coverage.shape[3] - 1)]
        sure = (inside < 0.02) | (inside > 0.98)
        assert np.abs(views.mask[v, 0][sure] / 255.0 - inside[sure]).max() < 0.1
        background = views.mask[v, 0] == 0
        at = places_of(np.linalg.inv(views.homographies[0, v]), H, W)
        expected = pattern(at[0] + warp.left, at[1] + warp.top)
        error = np.abs(views.frames[v, 0, ..., 0] - expected)[background]
        assert np.median(error) < 1.0  # more only where the square was in view 0
        assert np.all(views.frames[v, 0, ..., 2][views.mask[v, 0] == 255] >= 235)  # nothing shines through


@pytest.mark.parametrize("seed", range(4))
def test_what_comes_out_from_behind_shows_no_trace_of_the_foreground(seed: int) -> None:
    _, _, views = two_layers(seed)
    assert views.mask is not None
    blue, share = views.frames[1:, ..., 2].astype(float), views.mask[1:] / 255.0
    np.testing.assert_allclose(blue, 40.0 + 200.0 * share, atol=12.0)
    assert np.abs(views.homographies[0, -1] - views.homographies[1, -1]).max() > 0.5  # there is parallax


def test_memory_is_used_again_only_when_nothing_holds_what_lay_in_it() -> None:
    memory = Memory()
    first = memory.empty(2, 3)
    first[:] = 7
    part = first[:1, 1:]
    del first
    second = memory.empty(2, 3)  # of another place: a part of the first is still held
    second[:] = 8
    assert np.all(part == 7)
    place = second.ctypes.data
    del second
    assert memory.empty(3, 2).ctypes.data == place


def test_a_grid_that_is_held_is_not_written_over() -> None:
    warp = warp_of("affine", 1)
    memory, clip = Memory(), moving_clip(2, *warp.shrunk_size)
    held = synthesize(clip, 2, warp, H, W, memory=memory).frames
    kept = held.copy()
    synthesize(255 - clip, 2, warp, H, W, memory=memory)
    assert np.array_equal(held, kept)
