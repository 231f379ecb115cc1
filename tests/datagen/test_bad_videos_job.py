"""Whatever a folder holds beside a good video: the plan is made, each bad file has its reason, the good one a grid."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.datagen.clip_scenes import Thing, scene
from tests.datagen.moving_pictures import numbered_frames, write_header, write_numbered, write_sound, write_timed

from fourreal.datagen.selection import duplicates
from fourreal.datagen.selection.phash import key_frame_hashes
from fourreal.datagen.synthesize import Config, Synthesizer, data_job
from fourreal.platform import video
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.storage_errors import StorageError


def _damaged(path: Path) -> None:
    """One key frame, and packets in the middle that cannot be decoded: what follows builds on them."""
    write_timed(path, numbered_frames(20), [100 * i for i in range(20)], gop_size=250, max_b_frames=0)
    with video.open_video(path) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets[2:5]:
        data[position + 5 : position + size] = bytes([255, 3] * size)[: size - 5]
    path.write_bytes(data)


def _truncated(path: Path) -> None:
    write_numbered(path, 12)
    path.write_bytes(path.read_bytes()[:600])


def _unknown_codec(path: Path) -> None:
    write_numbered(path, 13)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))


def _wide(path: Path) -> None:
    write_timed(path, np.zeros((8, 16, 16384, 3), np.uint8), [40 * i for i in range(8)])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "audio.mp4": (write_sound, "no_video"),
    "codec.mp4": (_unknown_codec, "no_decoder"),
    "damaged.mp4": (_damaged, "corrupt"),
    "folder.mp4": (Path.mkdir, "not_a_file"),
    "header.mp4": (write_header, "no_frames"),
    "one.mp4": (lambda path: video.write_video(path, scene(seed=50, times=1), fps=8), "too_short"),
    "pipe.mp4": (os.mkfifo, "not_a_file"),
    "text.mp4": (lambda path: path.write_text("no video"), "unreadable"),
    "truncated.mp4": (_truncated, "unreadable"),
    "wide.mp4": (_wide, "too_large"),
}


def _good(path: Path) -> None:
    video.write_video(path, scene(pan=(1.0, 0.5), things=(Thing((90, 70), 28, velocity=(2.0, 1.0)),)), fps=8)


@pytest.mark.parametrize("name", ["good.mp4", "good.avi"])  # the second's suffix is not its container's
def test_bad_files_have_their_reasons_and_harm_no_other(tmp_path: Path, name: str) -> None:
    for bad, (make, _) in BAD.items():
        make(tmp_path / bad)
    _good(tmp_path / "good.mp4")
    (tmp_path / "good.mp4").rename(tmp_path / name)
    config = Config(
        videos=str(tmp_path), out="unused", views=2, times=4, height=32, width=48, stride=1, clips_per_video=1
    )
    items = list(data_job(config).list_items())
    synthesizer, found, grids = Synthesizer(config), {}, {}
    for item in items:
        try:
            grids[Path(item.source).name] = synthesizer.process(item).frames.shape
        except ItemFailure as failure:
            found[Path(item.source).name] = failure.reason
    synthesizer.close()
    assert found == {bad: reason for bad, (_, reason) in BAD.items()}
    assert grids == {name: (2, 4, 32, 48, 3)}


def test_frames_too_large_for_a_worker_are_not_decoded_for_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _good(tmp_path / "good.mp4")
    with (tmp_path / "good.mp4").open("rb") as file:
        assert key_frame_hashes(file, [(0.0, 9.0)])[0]
    monkeypatch.setattr(video, "MOST_PIXELS", 256 * 144 - 1)
    with (tmp_path / "good.mp4").open("rb") as file, pytest.raises(Exception, match=r"Invalid|Errno"):
        key_frame_hashes(file, [(0.0, 9.0)])


def _raise(error: Exception) -> None:
    raise error


def test_only_what_the_store_does_not_give_ends_the_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"start_s": 0.0, "end_s": None}
    monkeypatch.setattr(duplicates, "_read", lambda *_: _raise(KeyError("anything")))
    monkeypatch.setattr(duplicates.VideoSource, "from_spec", lambda _: None)
    items = [Item("a-0000", "a.mp4", spec, group="a"), Item("b-0000", "b.mp4", spec, group="b")]
    assert duplicates.mark_duplicates(items, 7) == items
    monkeypatch.setattr(duplicates, "_read", lambda *_: _raise(StorageError("the store is gone")))
    with pytest.raises(StorageError):
        duplicates.mark_duplicates(items, 7)
