"""Reading the clip of an item: the first in its window that crosses no cut and that the quality check accepts."""

from __future__ import annotations

import contextlib
import math
from typing import BinaryIO

from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.deadline import DeadlineError, within
from fourreal.datagen.videos.search import ClipCheck, ClipSearch
from fourreal.datagen.videos.sources import NotAFileError, VideoSource
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.video import MOST_PIXELS, NoDecoderError, NoVideoError, VideoDecoder

_LARGEST_SIDE = 8192
_CUT_OFF_S = 1.0
"""A window that ends so much before it should is of a file that is cut off."""


def accept_all(clip: Clip) -> dict[str, float]:
    """The check that refuses nothing, and measures nothing."""
    return {}


class ClipReader:
    """Reads clips of windows; a file whose windows are asked for in order is opened and decoded once.

    Opening and decoding happen in a thread that is given up after `limit_s`: see `deadline`.
    """

    def __init__(self, timing: Timing, check: ClipCheck = accept_all, limit_s: float = 120.0) -> None:
        self.timing, self.check, self.limit_s = timing, check, limit_s
        self._file: _OpenFile | None = None

    def read(self, item: Item) -> Clip:
        """The clip of an item that `list_windows` gave. Raises ItemFailure."""
        source = VideoSource.from_spec(item.spec)
        reading = _Reading(self._file)
        self._file = None
        try:
            clip = within(self.limit_s, lambda: reading.run(source, item, self.timing, self.check))
        except DeadlineError as error:
            reading.given_up = True  # its file is in the hands of the other thread, which closes it if it can
            message = f"reading a clip of {source.address}: {error}"
            raise ItemFailure("decode", "timeout", message, retryable=True) from None
        except ItemFailure:
            self._file = reading.file
            raise
        except Exception as error:
            reading.close()
            raise _failure(error, source) from error
        self._file = reading.file
        return clip

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
        self._file = None


def _failure(error: Exception, source: VideoSource) -> Exception:
    """What an error means for the item; the error itself where nobody foresaw it."""
    reasons: list[tuple[type[Exception], str]] = [
        (NotAFileError, "not_a_file"),
        (FileNotFoundError, "not_found"),
        (NoVideoError, "no_video"),
        (NoDecoderError, "no_decoder"),
        (UserError, "unreadable"),
        (OSError, "unreadable"),
    ]
    for kind, reason in reasons:
        if isinstance(error, kind):
            words = str(getattr(error, "strerror", None) or error)
            return ItemFailure("decode", reason, words if source.address in words else f"{source.address}: {words}")
    return error


class _Reading:
    """One attempt at one clip. `file` is the open file, before and after."""

    def __init__(self, file: _OpenFile | None) -> None:
        self.file = file
        self.given_up = False

    def run(self, source: VideoSource, item: Item, timing: Timing, check: ClipCheck) -> Clip:
        start_s, end_s = float(item.spec["start_s"]), item.spec["end_s"]
        if self.file is None or self.file.source != source or start_s <= self.file.decoder.position_s:
            self.close()
            self.file = _OpenFile(source)
        decoder = self.file.decoder
        search = ClipSearch(timing, decoder.info, check)
        for frame in decoder.frames(start_s, math.inf if end_s is None else end_s):
            if self.given_up:
                self.close()
                raise DeadlineError(f"the clip of {source.address} is no longer waited for")
            if clip := search.push(frame):
                return clip
        if clip := search.finish():
            return clip
        if not search.refused_any:
            duration_s = decoder.info.duration_s  # 0 where nothing says how long the file should be
            _explain_missing_frames(decoder, source.address, duration_s if end_s is None else min(end_s, duration_s))
        raise search.failure(source.address)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        self.file = None


def _explain_missing_frames(decoder: VideoDecoder, address: str, should_end_s: float) -> None:
    """Raise ItemFailure where a window has too few frames because of the file."""
    if decoder.read_until_s < should_end_s - _CUT_OFF_S:
        message = f"{address} is cut off at {decoder.read_until_s:.1f} s of {should_end_s:.1f} s"
        raise ItemFailure("decode", "truncated", message)
    if decoder.is_damaged:
        raise ItemFailure("decode", "corrupt", f"{address}: the frames here build on damaged packets")


class _OpenFile:
    """A source and its decoder."""

    def __init__(self, source: VideoSource) -> None:
        self.source = source
        self._file: BinaryIO = source.open()
        try:
            self.decoder = VideoDecoder(self._file)
            info = self.decoder.info
            if max(info.width, info.height) > _LARGEST_SIDE or info.width * info.height > MOST_PIXELS:
                message = f"{source.address} has {info.width}x{info.height} pixels: make it smaller (8K is the most)"
                raise ItemFailure("decode", "too_large", message)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.decoder.close()
        self._file.close()
