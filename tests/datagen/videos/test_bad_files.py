from __future__ import annotations

import time
from pathlib import Path

import av
import numpy as np
import pytest
from tests.datagen.moving_pictures import (
    number_of,
    numbered_frames,
    write_header,
    write_numbered,
    write_sound,
    write_timed,
)

from fourreal.datagen.videos.reader import ClipReader
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.video import VideoDecoder

FOUR = Timing(times=4, stride=2)


def _read(path: Path, most: int = 1, reader: ClipReader | None = None) -> list[str | list[int]]:
    """For each window the numbers of its clip's frames, or the reason why there is none."""
    found: list[str | list[int]] = []
    reader = reader or ClipReader(FOUR)
    for item in list_windows(str(path), FOUR, most):
        try:
            found.append([number_of(image) for image in reader.read(item).images()])
        except ItemFailure as failure:
            found.append(failure.reason)
    return found


def test_what_is_no_video_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a-empty.mp4").touch()
    (tmp_path / "b-text.mp4").write_text("no video")
    write_sound(tmp_path / "c-sound.mp4")
    write_numbered(tmp_path / "d-one.mp4", 1)
    write_numbered(tmp_path / "e-whole.mp4", 10)
    whole = (tmp_path / "e-whole.mp4").read_bytes()
    (tmp_path / "f-codec.mp4").write_bytes(whole.replace(b"avc1", b"zzzz"))
    (tmp_path / "g-named-wrongly.avi").write_bytes(whole + b"\0")
    write_timed(tmp_path / "h-large.mp4", np.zeros((8, 16, 16384, 3), np.uint8), [40 * i for i in range(8)])
    found = _read(tmp_path)
    good = [0, 2, 4, 6]
    assert found == ["unreadable", "unreadable", "no_video", "too_short", good, "no_decoder", good, "too_large"]


def test_a_header_without_frames(tmp_path: Path) -> None:
    write_header(tmp_path / "none.mp4")
    assert _read(tmp_path) == ["no_frames"]


def test_of_a_truncated_file_the_part_that_is_there_is_used(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = 128, 80, "yuv420p", 10
        for image in numbered_frames(120):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.6 * len(whole))])
    first, second, third, last = _read(path, most=4)
    assert (first, second) == ([0, 2, 4, 6], [30, 32, 34, 36])
    assert last == "truncated"
    path.write_bytes(whole[:600])
    assert _read(path) == ["unreadable"]


def test_damage_in_the_middle_costs_only_what_builds_on_it(tmp_path: Path) -> None:
    path = tmp_path / "damaged.mp4"
    write_timed(path, numbered_frames(120), [100 * i for i in range(120)], gop_size=20, max_b_frames=0)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.is_keyframe) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size, _ in packets[45:50]:  # the windows begin at 0, 40 and 80
        data[position + 5 : position + size] = bytes([255, 3] * size)[: size - 5]
    path.write_bytes(data)
    first, second, third = _read(path, most=3)
    assert (first, third) == ([0, 2, 4, 6], [80, 82, 84, 86])
    assert second == [60, 62, 64, 66]  # from the next key frame on


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_never_shows_and_never_hangs(tmp_path: Path, seed: int) -> None:
    write_numbered(tmp_path / "damaged.mp4", 60)
    rng = np.random.default_rng(seed)
    data = np.frombuffer((tmp_path / "damaged.mp4").read_bytes(), np.uint8).copy()
    data[rng.integers(0, len(data), 40)] = rng.integers(0, 256, 40)
    (tmp_path / "damaged.mp4").write_bytes(data.tobytes())
    for found in _read(tmp_path, most=3, reader=ClipReader(FOUR, limit_s=60.0)):
        assert isinstance(found, str) or len(found) == 4


def test_a_decoder_that_hangs_costs_its_own_clip_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbered(tmp_path / "a-hangs.mp4", 10)
    write_numbered(tmp_path / "b-fine.mp4", 11)
    real, hangs = VideoDecoder._decode, []

    def decode(self: VideoDecoder) -> object:
        if not hangs:
            hangs.append(1)
            time.sleep(3600)
        return real(self)

    items = list(list_windows(str(tmp_path), FOUR, 1))
    monkeypatch.setattr(VideoDecoder, "_decode", lambda self: iter(_lazy(decode, self)))
    reader = ClipReader(FOUR, limit_s=1.0)
    with pytest.raises(ItemFailure, match="more than 1 s") as failure:
        reader.read(items[0])
    assert failure.value.reason == "timeout"
    assert failure.value.retryable
    reader.limit_s = 60.0
    assert [number_of(image) for image in reader.read(items[1]).images()] == [0, 2, 4, 6]


def _lazy(decode: object, decoder: VideoDecoder) -> object:
    yield from decode(decoder)  # type: ignore[operator]
