"""Clips of ordinary videos: which there are, and their frames, decoding each file once and forwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.grid import make_key
from fourreal.platform.storage import Storage
from fourreal.platform.video import Frame, VideoInfo, probe, read_frames

_VIDEO_SUFFIXES = frozenset(
    [".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"]
)
_BAR_LEVEL = 20
"""A row or column that never gets brighter than this is taken for a bar of the letterbox."""
_MOST_BAR = 0.3
"""More than this share on one side is darkness in the scene, not a bar."""


def list_clips(folder: Storage, times: int, stride: int, most_per_video: int) -> Iterator[Item]:
    """Clips of the videos in `folder`, by file and place: at most `most_per_video`, spread over the whole file.

    A clip is `times` frames, `stride` apart; clips of one file do not overlap. A file that cannot be read is one
    item, so that it ends in quarantine with its reason instead of being passed over.
    Raises UserError when there is no video.
    """
    names = [e.path for e in folder.list(recursive=True) if PurePosixPath(e.path).suffix.lower() in _VIDEO_SUFFIXES]
    if not names:
        raise UserError(f"there is no video in {folder.uri}: known are {' '.join(sorted(_VIDEO_SUFFIXES))}")
    for name in names:
        sha256 = _sha256(folder, name)
        stem = make_key(PurePosixPath(name).stem)[:80]
        for start in _starts(folder, name, times, stride, most_per_video):
            spec = {"name": name, "start_frame": start, "sha256": sha256}
            yield Item(f"{stem}-{sha256[:8]}-{start:06d}", folder.path(name), spec)


class ClipReader:
    """Reads clips; a file whose clips are asked for in order is opened and decoded once."""

    def __init__(self, folder: Storage) -> None:
        self.folder = folder
        self.name = ""
        self.info = VideoInfo(0, 0, 0.0, 0)
        self._file: BinaryIO | None = None
        self._frames: Iterator[Frame] = iter(())
        self._next_frame = 0

    def read(self, item: Item, times: int, stride: int) -> npt.NDArray[np.uint8]:
        """Frames `[T, h, w, 3]` of a clip that `list_clips` gave. Raises ItemFailure."""
        start = int(item.spec["start_frame"])
        try:
            if item.spec["name"] != self.name or start < self._next_frame:
                self._open(str(item.spec["name"]))
            return self._take(start, times, stride)
        except UserError as error:
            self.close()
            raise ItemFailure("decode", "unreadable", str(error)) from None

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
        self._file, self.name = None, ""

    def _open(self, name: str) -> None:
        self.close()
        with self.folder.open(name) as file:
            self.info = probe(file)
        self._file = self.folder.open(name)
        self._frames, self._next_frame, self.name = read_frames(self._file), 0, name

    def _take(self, start: int, times: int, stride: int) -> npt.NDArray[np.uint8]:
        kept: list[Frame] = []
        for frame in self._frames:
            if self._next_frame >= start and (self._next_frame - start) % stride == 0:
                kept.append(frame)
            self._next_frame += 1
            if len(kept) == times:
                return np.stack(kept)
        wanted = start + (times - 1) * stride + 1
        message = f"the video has {self._next_frame} frames, not {wanted}: use fewer --times or a smaller --stride"
        raise ItemFailure("decode", "too_short", message)


def crop_bars(clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Cut the dark bars of a letterbox off a clip `[T, h, w, 3]`."""
    brightest = clip.max(axis=(0, 3))
    top, bottom = _bright_span(brightest.max(axis=1))
    left, right = _bright_span(brightest.max(axis=0))
    return clip[:, top:bottom, left:right]


def _bright_span(brightest: npt.NDArray[np.uint8]) -> tuple[int, int]:
    bright = np.flatnonzero(brightest > _BAR_LEVEL)
    length = len(brightest)
    if not len(bright):
        return 0, length
    first, last = int(bright[0]), int(bright[-1]) + 1
    # The codec smears the edge of a bar: two more lines go with it.
    first = 0 if first > _MOST_BAR * length else first + 2 if first else 0
    last = length if length - last > _MOST_BAR * length else last - 2 if last < length else length
    return first, last


def _starts(folder: Storage, name: str, times: int, stride: int, most: int) -> list[int]:
    try:
        with folder.open(name) as file:
            frames = probe(file).frame_count
    except UserError:
        return [0]
    span = (times - 1) * stride + 1
    count = max(1, min(most, frames // span))
    return [round(i * (frames - span) / max(1, count - 1)) if frames > span else 0 for i in range(count)]


def _sha256(folder: Storage, name: str) -> str:
    with folder.open(name) as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
