"""Points of a clip followed through a few of its frames.

Letters: T frames of the clip, F frames of a span, P points, H rows, W columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.videos.greys import Grey

DENSE, SPARSE = 8, 12
"""Side, in pixels, of the squares in each of which one point is sought, so that points speak for area and not for
texture. Time goes with their number."""
_MIN_EIGENVALUE = 5e-4
"""Texture that a point needs (smaller eigenvalue of the structure tensor, as `cv2.cornerMinEigenVal` scales it)."""
_SPAN_STEPS = 4
_THERE_AND_BACK = 0.7
"""A point that is followed forwards and back again must come home to within so many pixels."""
_BESIDE = np.float32(1.5)
_WINDOW = (9, 9)
"""Pixels around a point that are compared: at 13 a point takes three times as long and is placed no better."""
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


def follow(grey: Grey, cell: int) -> Iterator[Span]:
    """Follow points through `grey` `[T, H, W]`, starting anew every few frames, as they leave the picture.

    There is at most one in each square of `cell` pixels. Pyramidal Lucas-Kanade (Bouguet 2000), forwards and back;
    deterministic.
    """
    last = len(grey) - 1
    for start in range(0, last, _SPAN_STEPS):
        stop = min(start + _SPAN_STEPS, last)
        yield _follow_span(grey[start : stop + 1], cell)


def lengths(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of `[..., 2]`."""
    return np.asarray(np.hypot(vectors[..., 0], vectors[..., 1]))


def _follow_span(grey: Grey, cell: int) -> Span:
    points = _find(grey[0], cell)
    path = [points]
    for now, after in itertools.pairwise(grey):
        here = path[-1]
        if not len(here):
            path.append(here)
            continue
        there, found = _flow(now, after, here)
        back, found_back = _flow_back(after, now, there, here)
        inside = np.all((there >= 0) & (there <= [now.shape[1] - 1, now.shape[0] - 1]), axis=1)
        good = found & found_back & inside & (lengths(back - here) < _THERE_AND_BACK)
        path = [frame[good] for frame in path]
        path.append(there[good])
    return Span(np.stack(path).astype(np.float64), len(points))


def _find(grey: Grey, cell: int) -> npt.NDArray[np.float32]:
    """The best point of each cell that has one, `[P, 2]`."""
    quality = cv2.cornerMinEigenVal(grey, 5)
    height, width = (n // cell * cell for n in quality.shape)
    cells = quality[:height, :width].reshape(height // cell, cell, width // cell, cell).swapaxes(1, 2)
    flat = cells.reshape(*cells.shape[:2], -1)
    best = flat.argmax(axis=-1)
    row, column = np.nonzero(flat.max(axis=-1) > _MIN_EIGENVALUE)
    place = best[row, column]
    corners = np.stack([column * cell + place % cell, row * cell + place // cell], axis=-1)
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
