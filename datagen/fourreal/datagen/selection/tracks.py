"""Points of a clip followed through a few of its frames.

Letters: T frames of the clip, F frames of a span, P points, H rows, W columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]

_CELL = 8
"""One point is sought in every square of so many pixels, so that points speak for area and not for texture."""
_MIN_EIGENVALUE = 5e-4
"""Texture that a point needs (smaller eigenvalue of the structure tensor, as `cv2.cornerMinEigenVal` scales it)."""
_SPAN_STEPS = 4
_THERE_AND_BACK = 0.7
"""A point that is followed forwards and back again must come home to within so many pixels."""
_BESIDE = np.float32(1.5)
_WINDOW = (13, 13)
_LEVELS = 3
_ENOUGH = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)
"""Steps for a point at each level, and the length, in pixels, at which they end earlier."""


@dataclass(frozen=True)
class Span:
    """Neighbouring frames of a clip and the points that were followed through all of them."""

    points: npt.NDArray[np.float64]
    """`[F, P, 2]`, pixels (x, y)."""
    started: int
    """Points that were found in the first frame; those that are missing in `points` were lost."""


def shrunk(grey: Grey, longer_side: int) -> Grey:
    """Frames `[T, h, w]` as `[T, H, W]`, shrunk until neither side is longer than `longer_side`."""
    height, width = grey.shape[1:]
    scale = min(1.0, longer_side / max(height, width))
    if scale == 1.0:
        return grey
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    return np.asarray([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in grey])


def follow(grey: Grey) -> Iterator[Span]:
    """Follow points through `grey` `[T, H, W]`, starting anew every few frames, as they leave the picture.

    Pyramidal Lucas-Kanade (Bouguet 2000), forwards and back; deterministic.
    """
    last = len(grey) - 1
    for start in range(0, last, _SPAN_STEPS):
        stop = min(start + _SPAN_STEPS, last)
        yield _follow_span(grey[start : stop + 1])


def _follow_span(grey: Grey) -> Span:
    points = _find(grey[0])
    path = [points]
    for now, after in itertools.pairwise(grey):
        here = path[-1]
        if not len(here):
            path.append(here)
            continue
        there, found = _flow(now, after, here)
        back, found_back = _flow_back(after, now, there, here)
        inside = np.all((there >= 0) & (there <= [now.shape[1] - 1, now.shape[0] - 1]), axis=1)
        good = found & found_back & inside & (np.linalg.norm(back - here, axis=1) < _THERE_AND_BACK)
        path = [frame[good] for frame in path]
        path.append(there[good])
    return Span(np.stack(path).astype(np.float64), len(points))


def _find(grey: Grey) -> npt.NDArray[np.float32]:
    """The best point of each cell that has one, `[P, 2]`."""
    quality = cv2.cornerMinEigenVal(grey, 5)
    height, width = (n // _CELL * _CELL for n in quality.shape)
    cells = quality[:height, :width].reshape(height // _CELL, _CELL, width // _CELL, _CELL).swapaxes(1, 2)
    flat = cells.reshape(*cells.shape[:2], -1)
    best = flat.argmax(axis=-1)
    row, column = np.nonzero(flat.max(axis=-1) > _MIN_EIGENVALUE)
    place = best[row, column]
    corners = np.stack([column * _CELL + place % _CELL, row * _CELL + place // _CELL], axis=-1)
    return np.asarray(corners, np.float32)


def _flow(
    now: Grey, after: Grey, points: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        now, after, points[:, None], None, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_ENOUGH
    )
    return np.asarray(there[:, 0], np.float32), np.asarray(found[:, 0], np.bool_)


def _flow_back(
    after: Grey, now: Grey, points: npt.NDArray[np.float32], home: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Where `points` of `after` are in `now`, sought around `home` alone: elsewhere they are not at home anyway.

    The search sets out beside it, so that it must find its way: in noise, where it began is as good as anywhere.
    """
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        after,
        now,
        points[:, None],
        home[:, None] + _BESIDE,
        winSize=_WINDOW,
        maxLevel=0,
        criteria=_ENOUGH,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(there[:, 0], np.float32), np.asarray(found[:, 0], np.bool_)
