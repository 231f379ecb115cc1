"""Perceptual hashes of key frames: what a video looks like, for the price of a few of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import av
import cv2
import numpy as np
import numpy.typing as npt

from fourreal.platform.video import open_video

_SIDE = 32
_BITS = 64
_FEWEST_LEVELS = 6.0
"""Standard deviation, in grey levels, below which a frame has nothing to know it by: black, white, fog."""
_LEAST_CHANGE = 2.0
"""The same of the difference of two frames: what noise and the codec leave of things at rest lies below."""
_LARGEST_SIDE = 256
_KEY_FRAMES = 3
"""Of a window: its clip lies at or after its beginning."""
_CHANGE_S = 2.0
"""A file is known by what changes in so much of its beginning."""

_FREQUENCIES = np.array(
    sorted(((y, x) for y in range(12) for x in range(12)), key=lambda f: (sum(f), f))[1 : _BITS + 1]
)
"""The lowest of a DCT, without the mean."""


def phash(grey: npt.NDArray[np.uint8]) -> int | None:
    """64 bits that near-copies of a picture `[H, W]` share almost all of; None for a picture without contrast.

    A bit says whether one of the lowest 64 coefficients of the picture's DCT, shrunk to 32x32,
    is above their median (pHash, after Zauner, "Implementation and benchmarking of perceptual image hash functions",
    2010). So size, compression, brightness and contrast hardly matter; cropping, bars, mirroring and turning do.
    """
    return _hash(_small(grey), _FEWEST_LEVELS)


def change_hash(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> int | None:
    """The same of the difference of two pictures `[H, W]`: of what moves, whatever it moves before; None where nothing
    does."""
    return _hash(_small(after) - _small(before), _LEAST_CHANGE)


def _small(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)


def _hash(small: npt.NDArray[np.float32], fewest_levels: float) -> int | None:
    if small.std() < fewest_levels:
        return None
    coefficients = cv2.dct(small)[_FREQUENCIES[:, 0], _FREQUENCIES[:, 1]]
    bits = coefficients > np.median(coefficients)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def key_frame_hashes(file: BinaryIO, windows: Sequence[tuple[float, float]]) -> list[list[int]]:
    """Hashes of the first key frames of windows (start and end, seconds): the one that decoding would begin at, and
    those that follow it. A window with but one of them gets the hash of what changes in the file's first two seconds
    (`change_hash`), where anything does: a key frame alone says nothing of what happens before a background. Except
    for these seconds only key frames are decoded. Raises UserError where the file cannot be read and av.FFmpegError
    where it cannot be decoded.
    """
    with open_video(file) as container:
        stream = container.streams.video[0]
        stream.codec_context.skip_frame = "NONKEY"
        hashes = [_hashes_of(container, stream, *window) for window in windows]
        if any(len(found) == 1 for found in hashes):
            stream.codec_context.skip_frame = "DEFAULT"
            if (change := _change(container, stream)) is not None:
                hashes = [[*found, change] if len(found) == 1 else found for found in hashes]
        return hashes


def _hashes_of(
    container: av.container.InputContainer, stream: av.VideoStream, start_s: float, end_s: float
) -> list[int]:
    origin = stream.start_time or 0
    if stream.time_base is None:
        return []
    container.seek(origin + int(start_s / stream.time_base), stream=stream, backward=True)
    hashes: list[int | None] = []
    for frame in container.decode(stream):
        time_s = float(((frame.pts or 0) - origin) * stream.time_base)
        if hashes and (time_s >= end_s or len(hashes) == _KEY_FRAMES):
            break
        hashes.append(phash(_grey(frame)))
    return [found for found in hashes if found is not None]


def _change(container: av.container.InputContainer, stream: av.VideoStream) -> int | None:
    """The hash of what changes in the file's first seconds."""
    origin = stream.start_time or 0
    if stream.time_base is None:
        return None
    container.seek(origin, stream=stream, backward=True)
    first = last = None
    for frame in container.decode(stream):
        first, last = first or frame, frame
        if float(((frame.pts or 0) - origin) * stream.time_base) >= _CHANGE_S:
            break
    if first is None or last is None or (first.width, first.height) != (last.width, last.height):
        return None
    return change_hash(_grey(first), _grey(last))


def _grey(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    scale = min(1.0, _LARGEST_SIDE / max(frame.width, frame.height))
    size = max(16, round(scale * frame.width)), max(16, round(scale * frame.height))
    return np.asarray(frame.reformat(*size, format="gray").to_ndarray(), np.uint8)
