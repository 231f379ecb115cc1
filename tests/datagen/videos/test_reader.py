from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from tests.datagen.moving_pictures import number_of, numbered_frames, write_numbered, write_timed

from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.reader import ClipReader
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.video import DecodedFrame, VideoDecoder, probe

FOUR = Timing(times=4, stride=2)


def _items(path: Path, timing: Timing = FOUR, most: int = 3) -> list[Item]:
    return list(list_windows(str(path), timing, most))


def _numbers(item: Item, timing: Timing = FOUR, reader: ClipReader | None = None) -> list[int]:
    return [number_of(image) for image in (reader or ClipReader(timing)).read(item).images()]


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


@pytest.fixture
def one(tmp_path: Path) -> Path:
    write_numbered(tmp_path / "one.mp4")
    return tmp_path


def test_clips_are_frames_a_stride_apart_spread_over_the_file(one: Path) -> None:
    reader = ClipReader(FOUR)
    numbers = [_numbers(item, reader=reader) for item in _items(one)]
    assert numbers == [[0, 2, 4, 6], [14, 16, 18, 20], [27, 29, 31, 33]]


def test_a_file_is_decoded_once_for_all_its_clips(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    real = VideoDecoder._decode

    def counting(self: VideoDecoder) -> object:
        for frame in real(self):
            decoded.append(frame.time_s)
            yield frame

    monkeypatch.setattr(VideoDecoder, "_decode", counting)
    reader, items = ClipReader(FOUR), _items(one, most=5)
    clips = [reader.read(item).images() for item in items]
    assert len(clips) == 5
    assert len(set(decoded)) == len(decoded) <= 40
    alone = ClipReader(FOUR).read(items[1]).images()
    assert np.array_equal(clips[1], alone)
    assert np.array_equal(reader.read(items[0]).images(), clips[0])  # backwards opens the file again


def test_a_gap_is_skipped_where_a_key_frame_lies_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = numbered_frames(200)
    write_timed(tmp_path / "keys.mp4", frames, [40 * i for i in range(200)], gop_size=10)
    decoded = []
    real = VideoDecoder._decode

    def counting(self: VideoDecoder) -> object:
        for frame in real(self):
            decoded.append(round(frame.time_s * 25))
            yield frame

    monkeypatch.setattr(VideoDecoder, "_decode", counting)
    reader = ClipReader(FOUR)
    numbers = [_numbers(item, reader=reader) for item in _items(tmp_path, most=2)]
    assert numbers == [[0, 2, 4, 6], [100, 102, 104, 106]]
    assert len(set(decoded)) == len(decoded) < 50


def test_a_clip_is_sought_in_the_first_part_of_a_long_window(tmp_path: Path) -> None:
    write_numbered(tmp_path / "long.mp4", 60)
    seen: list[int] = []

    def never(clip: Clip) -> dict[str, float]:
        seen.append(number_of(clip.images()[0]))
        raise ItemFailure("filter", "dark", "no good")

    first, second = list_windows(str(tmp_path), FOUR, 2, search_s=1.5)
    for item in (first, second):
        with pytest.raises(ItemFailure, match="no good"):
            ClipReader(FOUR, never).read(item)
    assert seen == [0, 8, 30, 38]


def test_of_a_file_that_does_not_say_how_long_it_is_no_more_is_searched(tmp_path: Path) -> None:
    write_numbered(tmp_path / "whole.mp4", 60)
    pipe = _Pipe()
    with av.open(str(tmp_path / "whole.mp4")) as source, av.open(pipe, "w", format="matroska") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                sink.mux(packet)
    (tmp_path / "unknown").mkdir()
    (tmp_path / "unknown" / "long.mkv").write_bytes(pipe.getvalue())
    assert probe(tmp_path / "unknown" / "long.mkv").duration_s == 0.0
    seen: list[int] = []

    def never(clip: Clip) -> dict[str, float]:
        seen.append(number_of(clip.images()[0]))
        raise ItemFailure("filter", "dark", "no good")

    (item,) = list_windows(str(tmp_path / "unknown"), FOUR, 2, search_s=1.5)
    with pytest.raises(ItemFailure, match="no good"):
        ClipReader(FOUR, never).read(item)
    assert seen == [0, 8]
    (item,) = list_windows(str(tmp_path / "unknown"), FOUR, 2, search_s=60.0)
    with pytest.raises(ItemFailure, match="too few") as failure:
        ClipReader(Timing(times=40, stride=2)).read(item)
    assert failure.value.reason == "too_short"  # and not cut off at the window's end


def test_frames_are_chosen_by_when_they_are_shown(tmp_path: Path) -> None:
    times_ms = [0, 20, 30, 60, 100, 140, 150, 200, 220, 300, 320, 340, 400, 480, 500, 620, 700]
    write_timed(tmp_path / "variable.mkv", numbered_frames(len(times_ms)), times_ms)
    timing = Timing(times=6, stride=1, fps=10)
    (item,) = _items(tmp_path, timing, most=1)
    assert _numbers(item, timing) == [0, 4, 7, 9, 12, 14]
    dense = Timing(times=6, stride=1, fps=100)
    with pytest.raises(ItemFailure, match="smaller --fps") as failure:
        ClipReader(dense).read(_items(tmp_path, dense, most=1)[0])
    assert failure.value.reason == "low_fps"


def test_a_clip_longer_than_its_file_is_refused_with_both_numbers(tmp_path: Path) -> None:
    write_numbered(tmp_path / "short.mp4", 10)
    timing = Timing(times=8, stride=2)
    (item,) = _items(tmp_path, timing)
    with pytest.raises(ItemFailure, match=r"10 frames here, too few for 1\.40 s") as failure:
        ClipReader(timing).read(item)
    assert failure.value.reason == "too_short"


def test_the_first_clip_that_the_check_accepts_is_taken(one: Path) -> None:
    seen: list[int] = []

    def check(clip: object) -> dict[str, float]:
        seen.append(number_of(clip.images()[0]))  # type: ignore[attr-defined]
        if len(seen) < 3:
            raise ItemFailure("filter", "blurry" if len(seen) == 1 else "dark", "no good")
        return {"seen": len(seen)}

    (item,) = _items(one, most=1)
    assert _numbers(item, reader=ClipReader(FOUR, check))[0] == seen[2] > seen[1] > seen[0]

    assert ClipReader(FOUR, check).read(item).statistics == {"seen": 4}

    def never(clip: object) -> dict[str, float]:
        raise ItemFailure("filter", "dark" if number_of(clip.images()[0]) else "blurry", "no good")  # type: ignore[attr-defined]

    with pytest.raises(ItemFailure, match="of 5 clips tried") as failure:
        ClipReader(FOUR, never).read(item)
    assert failure.value.reason == "dark"


def test_a_clip_that_is_no_longer_waited_for_is_not_judged(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, judged = threading.Event(), []
    real = VideoDecoder._decode

    def slow(self: VideoDecoder) -> Iterator[DecodedFrame]:
        for number, frame in enumerate(real(self)):
            if number == 7:  # the first clip is whole but for a look at what follows
                go_on.wait(30.0)
            yield frame

    def check(clip: Clip) -> dict[str, float]:
        judged.append(clip)
        return {}

    (item,) = _items(one, most=1)
    monkeypatch.setattr(VideoDecoder, "_decode", slow)
    before = set(threading.enumerate())
    with pytest.raises(ItemFailure, match="it took more than"):
        ClipReader(FOUR, check, limit_s=0.3).read(item)
    go_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(30.0)
    assert judged == []
