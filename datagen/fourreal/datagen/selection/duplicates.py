"""Near-copies among all windows of a run, found when the plan is written, from key frames and what moves at first."""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fourreal.datagen.selection.phash import key_frame_hashes
from fourreal.datagen.videos.deadline import within
from fourreal.datagen.videos.sources import VideoSource
from fourreal.platform.datajob import Item
from fourreal.platform.storage_errors import raise_storage_fault

log = logging.getLogger(__name__)

MOST_BITS = 11
_FEWEST_HASHES = 2
_BANDS, _BAND_BITS = 4, 16
_PAIRS_AT_ONCE = 1 << 18
_THREADS = 8
_LIMIT_S = 60.0


@dataclass(frozen=True)
class Print:
    """What a window of a file is known by."""

    file: str
    hashes: tuple[int, ...]


def mark_duplicates(items: Iterable[Item], distance: int) -> list[Item]:
    """The items, with `duplicate_of` (a key) in the spec of each window whose key frames are those of an earlier one.

    A file that cannot be read has no hashes, and such a window is nobody's copy. See `find_duplicates`.
    """
    items = list(items)
    by_file = [list(group) for _, group in itertools.groupby(items, key=lambda item: item.group)]
    with ThreadPoolExecutor(_THREADS) as threads:
        prints = list(itertools.chain.from_iterable(threads.map(_prints, by_file)))
    marked = list(items)
    for number, original in enumerate(find_duplicates(prints, distance)):
        if original is not None:
            spec = {**items[number].spec, "duplicate_of": items[original].key}
            marked[number] = replace(items[number], spec=spec)
    return marked


def find_duplicates(prints: Sequence[Print], distance: int) -> list[int | None]:
    """For each window the number of the earlier one that it repeats, or None.

    It does when every one of its hashes, two at least, is within `distance` bits of one of the same earlier file; of
    that file's windows, the first that shares its rarest hash is named. One hash is no proof: many clips are made
    before the same background. Windows of one file are never copies of one another: they share key frames, and a camera
    at rest makes all of them alike. Windows that are copies are not compared with.
    """
    every = sorted({value for one in prints for value in one.hashes})
    number_of = {value: number for number, value in enumerate(every)}
    near = _near(np.array(every, np.uint64), distance)
    windows_with: dict[int, list[int]] = defaultdict(list)  # of a hash's number; only windows that are no copies
    hashes_of: dict[str, set[int]] = defaultdict(set)
    found: list[int | None] = []
    for window, one in enumerate(prints):
        numbers = [number_of[value] for value in one.hashes]
        alike = [near.get(number, [number]) for number in numbers]
        original = _original(one.file, alike, prints, windows_with, hashes_of)
        found.append(original)
        if original is None:
            for number in numbers:
                windows_with[number].append(window)
            hashes_of[one.file].update(numbers)
    return found


def _original(
    file: str,
    alike: Sequence[Sequence[int]],
    prints: Sequence[Print],
    windows_with: dict[int, list[int]],
    hashes_of: dict[str, set[int]],
) -> int | None:
    if len(alike) < _FEWEST_HASHES:
        return None
    # The rarest hash leaves the fewest windows to look at, even where thousands of files begin alike.
    rarest = min(alike, key=lambda numbers: sum(len(windows_with.get(number, ())) for number in numbers))
    for candidate in sorted(window for number in rarest for window in windows_with.get(number, ())):
        other = prints[candidate].file
        if other != file and all(not hashes_of[other].isdisjoint(numbers) for numbers in alike):
            return candidate
    return None


def _near(hashes: npt.NDArray[np.uint64], distance: int) -> dict[int, list[int]]:
    """The numbers of those of the different hashes `[N]` within `distance` bits of each, its own among them; hashes
    that are near to no other are left out.

    Two hashes so near differ in at most a fourth of these bits in one of four 16-bit bands at least (multi-index
    hashing: Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012). So those
    are compared whose bands are that near, which are few of N: exact, and all but linear up to a few million.
    """
    near: dict[int, set[int]] = {}
    flips = [
        sum(1 << bit for bit in bits)
        for count in range(distance // _BANDS + 1)
        for bits in itertools.combinations(range(_BAND_BITS), count)
    ]
    for band in range(_BANDS):
        key = ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)).astype(np.int64)
        order = np.argsort(key, kind="stable")
        bounds = np.searchsorted(key[order], np.arange((1 << _BAND_BITS) + 1))
        for flip in flips:
            # Of both orders of a pair, one is enough.
            asking = np.flatnonzero(key <= key ^ flip)
            for a, b in _pairs(key[asking] ^ flip, order, bounds):
                one, other = asking[a], order[b]
                close = (_bits_set(hashes[one] ^ hashes[other]) <= distance) & (one != other)
                for i, j in zip(one[close].tolist(), other[close].tolist(), strict=True):
                    near.setdefault(i, {i}).add(j)
                    near.setdefault(j, {j}).add(i)
    return {number: sorted(numbers) for number, numbers in near.items()}


def _pairs(
    wanted: npt.NDArray[np.int64], order: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs (place in `wanted`, place in `order` of one that has the wanted band), a few million at once."""
    first, count = bounds[wanted], bounds[wanted + 1] - bounds[wanted]
    ends = np.cumsum(count)
    start = 0
    while start < len(wanted):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        part = count[start:stop]
        skipped = first[start:stop] - (ends[start:stop] - part - done)
        yield np.repeat(np.arange(start, stop), part), np.arange(part.sum()) + np.repeat(skipped, part)
        start = stop


def _bits_set(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Number of bits, by adding up neighbours in ever wider fields."""
    for shift, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        values = (values & np.uint64(mask)) + ((values >> np.uint64(shift)) & np.uint64(mask))
    return np.asarray((values * np.uint64(0x0101010101010101)) >> np.uint64(56))


def _prints(items: Sequence[Item]) -> list[Print]:
    """Of the windows of one file."""
    name = items[0].group
    windows = [(i.spec["start_s"], float("inf") if i.spec["end_s"] is None else i.spec["end_s"]) for i in items]
    try:
        hashes = within(_LIMIT_S, lambda: _read(VideoSource.from_spec(items[0].spec), windows))
    except Exception as error:
        # A damaged file makes FFmpeg raise anything; the worker that reads it says what is wrong.
        raise_storage_fault(error)
        log.info("%s is compared with nothing: %s", items[0].source, error)
        hashes = [[] for _ in items]
    return [Print(name, tuple(values)) for values in hashes]


def _read(source: VideoSource, windows: Sequence[tuple[float, float]]) -> list[list[int]]:
    with source.open() as file:
        return key_frame_hashes(file, windows)
