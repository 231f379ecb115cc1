"""The plan's items: every video is read once, hashed, and divided into windows, by a few threads of the driver."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from fourreal.datagen.videos.deadline import within
from fourreal.datagen.videos.sources import NotAFileError, VideoSource, find_videos
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import Item
from fourreal.platform.grid import make_key
from fourreal.platform.storage_errors import raise_storage_fault
from fourreal.platform.video import VideoInfo, probe

log = logging.getLogger(__name__)

_THREADS = 8
"""Hashing and demuxing release the interpreter's lock; more than a disk or a bucket can serve is no use."""
_BATCH = 1024
_CHUNK_BYTES = 1 << 20
_REPORT_EVERY_S = 10.0
_PROBE_LIMIT_S = 60.0


@dataclass(frozen=True)
class _Scanned:
    source: VideoSource
    sha256: str
    """Empty for what cannot be read."""
    info: VideoInfo | None


def list_windows(videos: str, timing: Timing, most_per_video: int, search_s: float = 60.0) -> Iterator[Item]:
    """Items of all that `--videos` names, in a fixed order: windows of files, each to become one clip.

    A file is divided into parts of equal length, at most `most_per_video` and none shorter than a clip; a window is
    the first `search_s` of a part. Identical files count once. What cannot be read is one item, so that it ends in
    quarantine with its reason.
    Raises UserError when there is no video.
    """
    seen: set[str] = set()
    twice = 0
    for scanned in _scan(find_videos(videos)):
        known_as = scanned.sha256 or scanned.source.address  # of what cannot be read
        if known_as in seen:
            twice += 1
            continue
        seen.add(known_as)
        yield from _windows(scanned, timing, most_per_video, search_s)
    if twice:
        log.info("%d files are copies of others and were left out", twice)


def _windows(scanned: _Scanned, timing: Timing, most: int, search_s: float) -> Iterator[Item]:
    source, sha256 = scanned.source, scanned.sha256
    name = sha256[:12] or hashlib.sha256(source.address.encode()).hexdigest()[:12]
    stem = f"{make_key(source.stem)[:80]}-{name}"
    duration_s = scanned.info.duration_s if scanned.info else 0.0
    span_s = timing.span_s(scanned.info.fps) if scanned.info else 0.0
    count = max(1, min(most, int(duration_s / span_s + 1e-6))) if span_s > 0 else 1
    length_s = max(search_s, 2.0 * span_s)
    for i in range(count):
        start_s, end_s = duration_s * i / count, duration_s * (i + 1) / count
        # The last part is open: what a container says of its length is often a frame off.
        end = start_s + length_s if end_s - start_s > length_s else end_s if i + 1 < count else None
        if scanned.info and not duration_s:  # the one part of a file that does not say how long it is
            end = length_s
        spec = source.spec() | {"sha256": sha256, "window": i, "start_s": start_s, "end_s": end}
        yield Item(f"{stem}-{i:04d}", source.address, spec, group=stem)


def _scan(sources: Iterator[VideoSource]) -> Iterator[_Scanned]:
    done, last_report = 0, time.monotonic()
    with ThreadPoolExecutor(_THREADS) as threads:
        while batch := list(islice(sources, _BATCH)):
            for scanned in threads.map(_look_at, batch):
                yield scanned
                done += 1
                if time.monotonic() - last_report > _REPORT_EVERY_S:
                    last_report = time.monotonic()
                    log.info("%d videos scanned", done)


def _look_at(source: VideoSource) -> _Scanned:
    try:
        sha256 = _sha256(source)
    except (OSError, NotAFileError) as error:
        raise_storage_fault(error)
        return _Scanned(source, "", None)
    try:
        return _Scanned(source, sha256, within(_PROBE_LIMIT_S, lambda: _probe(source)))
    except Exception as error:
        # A damaged file makes FFmpeg raise anything; the worker that reads it says what is wrong.
        raise_storage_fault(error)
        return _Scanned(source, sha256, None)


def _probe(source: VideoSource) -> VideoInfo:
    with source.open() as file:
        return probe(file)


def _sha256(source: VideoSource) -> str:
    with source.open() as file:
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
