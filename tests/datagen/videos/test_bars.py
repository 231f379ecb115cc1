"""Bars of a letterbox: cut off where there are any, the same rows in every clip of a film."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.datagen.clip_scenes import H, W, crop_bars, grey_of, scene

from fourreal.datagen.videos.bars import bright_box
from fourreal.platform.video import read_frames

BAR = 18
CLIP = scene(pan=(2.0, 0.0), times=4)


def boxed(*, noise: float = 0.0, light: float = 1.0) -> np.ndarray:
    clip = (CLIP * light).astype(np.uint8)
    clip[:, :BAR] = clip[:, -BAR:] = 4
    noisy = clip + np.random.default_rng(0).normal(0.0, noise, clip.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def with_logo() -> np.ndarray:
    clip = boxed()
    clip[:, 2 : BAR - 3, -50:-20] = 220
    return clip


def with_subtitle() -> np.ndarray:
    clip = boxed(noise=3.0)
    for frame in clip:
        cv2.putText(frame, "what are you waiting for", (30, H - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (240,) * 3, 1)
    return clip


@pytest.mark.parametrize(
    "clip",
    [boxed(), boxed(noise=4.0), boxed(light=0.2), with_logo(), with_subtitle()],
    ids=["plain", "noise", "dark", "logo", "sub"],
)
def test_bars_are_cut_off_whatever_lies_in_them(clip: np.ndarray) -> None:
    left = crop_bars(clip)
    assert H - 2 * BAR - 6 <= left.shape[1] <= H - 2 * BAR
    assert left.shape[2] == W
    on_its_side = crop_bars(clip.swapaxes(1, 2))
    assert np.array_equal(on_its_side, left.swapaxes(1, 2))


def test_a_box_all_around_is_cut_off() -> None:
    clip = boxed()
    clip[:, :, :30] = clip[:, :, -30:] = 4
    assert crop_bars(clip).shape[2] == pytest.approx(W - 64, abs=2)


@pytest.mark.parametrize(("top", "bottom"), [(18, 26), (26, 18), (20, 22), (14, 27)])
def test_bars_of_two_sizes_are_cut_off_whole(top: int, bottom: int) -> None:
    clip = CLIP.copy()
    clip[:, :top] = clip[:, -bottom:] = 4
    left = crop_bars(clip)
    assert left.shape[1] == pytest.approx(H - top - bottom - 4, abs=2)
    assert left.mean(axis=(0, 2, 3)).min() > 30  # no row of a bar is left
    assert np.array_equal(crop_bars(clip.swapaxes(1, 2)), left.swapaxes(1, 2))


@pytest.mark.parametrize("rows", [18, 30])
def test_one_bar_alone_stays_since_a_black_sky_looks_the_same(rows: int) -> None:
    clip = CLIP.copy()
    clip[:, :rows] = 4
    assert crop_bars(clip).shape == clip.shape
    assert crop_bars(clip[:, ::-1]).shape == clip.shape


def test_dark_scenes_keep_their_darkness() -> None:
    night = np.full((3, H, W, 3), 3, np.uint8)
    assert crop_bars(night).shape == night.shape
    night[:, 60:90, 100:140] = 200
    assert crop_bars(night).shape == night.shape  # a lamp has no edge across the frame
    ground = np.full((3, H, W, 3), 3, np.uint8)
    ground[:, 30:] = CLIP[:3, 30:]
    assert crop_bars(ground).shape == ground.shape  # a black sky over a bright ground is no pair of bars


def test_real_films_keep_one_size(shared_data: Path) -> None:
    def sizes(name: str) -> set[tuple[int, ...]]:
        frames = np.stack(list(read_frames(shared_data / "video" / name)))
        return {crop_bars(frames[i : i + 15 : 2]).shape[1:3] for i in range(0, len(frames) - 15, 15)}

    assert sizes("nasa_13013.mp4") == {(180, 320)}  # very dark, without bars
    assert sizes("hiker.mp4") == {(480, 720)}
    boxed_or_black = sizes("clip_10s.mp4")  # titles on black have no bars to see
    assert {size for size in boxed_or_black if size != (480, 854)} <= {(rows, 854) for rows in range(356, 364)}
    assert len(boxed_or_black) > 1


def test_of_most_clips_the_first_frame_is_enough() -> None:
    grey = grey_of(CLIP)[0]
    box = bright_box(lambda part: grey[part], lambda part: pytest.fail("the others are looked at"), W, H)
    assert box == (0, 0, W, H)
