"""Reading the clip of an item: the first in its window that crosses no cut and that the quality check accepts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import BinaryIO

from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.deadline import DeadlineError, within
from fourreal.datagen.videos.search import ClipSearch
from fourreal.datagen.videos.sources import NotAFileError, VideoSource
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.video import VideoDecoder

ClipCheck = Callable[[Clip], None]
"""Raises ItemFailure for a clip that is no good; the next one in the window is tried then."""

_LARGEST_SIDE, _MOST_PIXELS = 8192, 8192 * 4608
"""What 8K needs. A decoder holds up to 16 frames, and a clip its own."""


def accept_all(clip: Clip) -> None:
    """The check that refuses nothing."""


class ClipReader:
    """Reads clips of windows; a file whose windows are asked for in order is opened and decoded once."""

    def __init__(self, timing: Timing, check: ClipCheck = accept_all, limit_s: float = 120.0) -> None:
        self.timing, self.check, self.limit_s = timing, check, limit_s
        self._open: _OpenFile | None = None

    def read(self, item: Item) -> Clip:
        """The clip of an item that `list_windows` gave. Raises ItemFailure."""
        source = VideoSource.from_spec(item.spec)
        try:
            return within(self.limit_s, lambda: self._read(source, item))
        except DeadlineError as error:
            self._open = None  # still in the hands of the thread that was given up
            message = f"reading a clip of {source.address}: {error}"
            raise ItemFailure("decode", "timeout", message, retryable=True) from None
        except NotAFileError as error:
            raise ItemFailure("decode", "not_a_file", str(error)) from None
        except FileNotFoundError:
            raise ItemFailure("decode", "not_found", f"there is no file {source.address}") from None
        except (UserError, OSError) as error:
            self.close()
            raise ItemFailure("decode", "unreadable", str(error)) from None

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open.close()
        self._open = None

    def _read(self, source: VideoSource, item: Item) -> Clip:
        start_s, end_s = item.spec["start_s"], item.spec["end_s"]
        if self._open is None or self._open.source != source or start_s <= self._open.decoder.position_s:
            self.close()
            self._open = _OpenFile(source)
        decoder = self._open.decoder
        search = ClipSearch(self.timing, decoder.info, self.check)
        for frame in decoder.frames(start_s, float("inf") if end_s is None else end_s):
            if clip := search.push(frame):
                return clip
        if clip := search.finish():
            return clip
        raise search.failure(source.address)


class _OpenFile:
    """A source and its decoder."""

    def __init__(self, source: VideoSource) -> None:
        self.source = source
        self._file: BinaryIO = source.open()
        try:
            self.decoder = VideoDecoder(self._file)
            info = self.decoder.info
            if max(info.width, info.height) > _LARGEST_SIDE or info.width * info.height > _MOST_PIXELS:
                message = f"{source.address} has {info.width}x{info.height} pixels: make it smaller (8K is the most)"
                raise ItemFailure("decode", "too_large", message)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.decoder.close()
        self._file.close()
