from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.datagen.moving_pictures import number_of, numbered_frames, write_numbered, write_timed

from fourreal.datagen.videos.reader import ClipReader
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.side_files import depth_file, mask_file, read_depth, read_mask
from fourreal.datagen.videos.sources import VideoSource
from fourreal.datagen.videos.timing import Timing
from fourreal.platform import video
from fourreal.platform.datajob import Item, ItemFailure

TIMING = Timing(times=4, stride=3)


def _window(folder: Path, number: int = 1) -> Item:
    return list(list_windows(str(folder), TIMING, 3))[number]


def _write_mask(path: Path, count: int) -> None:
    video.write_video(path, numbered_frames(count, 64, 40), fps=10)


def test_a_mask_is_no_video_of_its_own_and_gives_the_frames_of_the_clips_times(tmp_path: Path) -> None:
    write_numbered(tmp_path / "a.mp4")
    _write_mask(tmp_path / "a.mask.mp4", 40)
    items = list(list_windows(str(tmp_path), TIMING, 3))
    assert {item.spec["name"] for item in items} == {"a.mp4"}
    source = VideoSource.from_spec(items[1].spec)
    assert (mask_file(source), depth_file(source)) == ("a.mask.mp4", None)
    clip = ClipReader(TIMING).read(items[1])
    mask = read_mask(source, "a.mask.mp4", clip)
    shown = [number_of(frame) for frame in clip.images()]
    assert [number_of(np.stack([m] * 3, axis=-1)) for m in mask] == shown
    assert mask.shape == (4, 40, 64)


def test_depth_is_read_at_the_frames_of_the_clip(tmp_path: Path) -> None:
    write_numbered(tmp_path / "a.mp4")
    depth = np.arange(40, dtype=np.float16)[:, None, None] + np.zeros((40, 20, 32), np.float16)
    np.save(tmp_path / "a.depth.npy", depth)
    item = _window(tmp_path)
    source = VideoSource.from_spec(item.spec)
    clip = ClipReader(TIMING).read(item)
    read = read_depth(source, depth_file(source) or "", clip)
    assert read[:, 0, 0].tolist() == [number_of(frame) for frame in clip.images()]
    assert (read.dtype, read.shape) == (np.dtype(np.float32), (4, 20, 32))


def test_the_bars_of_the_video_are_cut_off_its_mask_and_depth(tmp_path: Path) -> None:
    frames = np.zeros((40, 96, 128, 3), np.uint8)
    frames[:, 8:88] = numbered_frames(40, 128, 80)
    video.write_video(tmp_path / "a.mp4", frames, fps=10)
    mask = np.zeros((40, 48, 64, 3), np.uint8)
    mask[:, 10:38] = 255
    video.write_video(tmp_path / "a.mask.mp4", mask, fps=10)
    np.save(tmp_path / "a.depth.npy", np.arange(1.0, 97.0)[None, :, None] + np.zeros((40, 96, 8)))
    item = _window(tmp_path)
    source, clip = VideoSource.from_spec(item.spec), ClipReader(TIMING).read(item)
    lines = clip.size[1]
    assert lines < 84
    read = read_mask(source, "a.mask.mp4", clip)
    assert abs(read.shape[1] - lines / 2) <= 1
    assert read[:, 7:-7].min() > 240
    depth = read_depth(source, "a.depth.npy", clip)
    assert depth.shape == (4, lines, 8)
    assert depth[0, :, 0].mean() == pytest.approx(48.5, abs=1.5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 20, 32)), "depth for 5 frames, not for frame"),
        (np.zeros((40, 20, 32), np.uint8), "of floats"),
        (np.zeros((40, 20)), r"\[N, h, w\]"),
        (None, "bad.depth.npy"),
    ],
)
def test_depth_that_does_not_fit_is_refused_with_what_is_wrong(
    tmp_path: Path, array: np.ndarray | None, message: str
) -> None:
    write_numbered(tmp_path / "bad.mp4")
    if array is None:
        (tmp_path / "bad.depth.npy").write_bytes(b"no array")
    else:
        np.save(tmp_path / "bad.depth.npy", array)
    item = _window(tmp_path)
    with pytest.raises(ItemFailure, match=message) as failure:
        read_depth(VideoSource.from_spec(item.spec), "bad.depth.npy", ClipReader(TIMING).read(item))
    assert (failure.value.stage, failure.value.reason) == ("layers", "bad_depth")


def test_a_mask_that_ends_too_soon_or_is_none_is_refused(tmp_path: Path) -> None:
    write_numbered(tmp_path / "a.mp4")
    _write_mask(tmp_path / "a.mask.mp4", 5)
    item = _window(tmp_path)
    source, clip = VideoSource.from_spec(item.spec), ClipReader(TIMING).read(item)
    with pytest.raises(ItemFailure, match="has no frame at"):
        read_mask(source, "a.mask.mp4", clip)
    (tmp_path / "a.mask.mp4").write_text("no video")
    with pytest.raises(ItemFailure, match="no readable video"):
        read_mask(source, "a.mask.mp4", clip)


def test_a_mask_lies_on_a_turned_video_as_that_is_shown(tmp_path: Path) -> None:
    """A bright corner in the coded frames, between bars, and the mask of what a player shows."""
    frames = np.full((12, 80, 128, 3), 90, np.uint8)
    frames[:, :, :16] = frames[:, :, -8:] = 0
    frames[:, :30, 16:60] = 220
    write_timed(tmp_path / "a.mp4", frames, list(range(0, 1200, 100)), rotation=90)
    clip = ClipReader(TIMING).read(_window(tmp_path, 0))
    shown = clip.images()[0, ..., 1]
    whole = np.rot90(frames[0, ..., 1] > 150, k=1 if shown[-20, 5] > 150 else -1).astype(np.uint8)
    cut = clip.crop(whole)
    assert cut.shape == shown.shape
    assert (cut.astype(bool) == (shown > 150)).mean() > 0.97
