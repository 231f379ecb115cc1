"""Text that lies over a clip: subtitles, titles, credits.

Letters: T frames, H rows, W columns, N components.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.videos.greys import Grey

_STROKE = 1 / 24
"""Strokes are narrower than this share of the frame's height."""
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_RISE = 45
"""Grey levels by which a stroke differs from what is around it."""
_HEIGHTS = (1 / 60, 1 / 7)
"""Height of a letter, as a share of the frame's."""
_FEWEST_LETTERS = 5
"""Components of a line of text; windows and fences make shorter lines of things so alike now and then."""


@dataclass(frozen=True)
class _Letters:
    """Components that may be letters, `[N]` each; pixels."""

    left: npt.NDArray[np.int64]
    top: npt.NDArray[np.int64]
    width: npt.NDArray[np.int64]
    height: npt.NDArray[np.int64]
    stroke: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]


def text_share(grey: Grey) -> float:
    """Share of the frame that lines of text cover in each of some frames of a clip `[T, H, W]`.

    Strokes are narrow ridges (white top hat), bright or dark, that are there in frames from the clip's beginning to
    its end, so a scene that moves is taken away from behind its subtitles. Text is a row of components of one height,
    stroke width, brightness and base line (after Epshtein, Ofek and Wexler, "Detecting text in natural scenes with
    stroke width transform", CVPR 2010, without the transform). It neither reads nor knows letters: a still row of
    like things is text to it; handwriting, letters that touch and words of few letters are not.
    """
    height, width = grey.shape[1:]
    covered = np.zeros((height, width), bool)
    for frames in (grey, np.invert(grey)):
        if (letters := _letters(frames)) is not None:
            for left, top, right, bottom in _lines(letters):
                covered[top:bottom, left:right] = True
    return float(covered.mean())


def _letters(frames: Grey) -> _Letters | None:
    """What is a bright ridge of a letter's size in all frames; None where that is too little for a line."""
    height = frames.shape[1]
    mask = functools.reduce(cv2.min, [_ridges(frame) for frame in frames])
    # 16 bits count the components of a quarter of a million pixels and take OpenCV half as long as 32.
    wide_labels = mask.size > 4 * np.iinfo(np.uint16).max
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        mask, connectivity=8, ltype=cv2.CV_32S if wide_labels else cv2.CV_16U
    )
    left, top, wide, high, area = (boxes[:, i].astype(np.int64) for i in range(5))
    lowest, highest = (share * height for share in _HEIGHTS)
    good = (high >= max(5.0, lowest)) & (high <= highest) & (wide <= 2.5 * high) & (area >= 0.15 * wide * high)
    good[0] = False  # what is no component
    if good.sum() < _FEWEST_LETTERS:
        return None
    picture = frames.min(axis=0)
    inner = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    inside = mask > 0
    label = labels[inside]  # few of all pixels, and `bincount` makes floats of each
    stroke = np.bincount(label, inner[inside], minlength=count) / area
    level = np.bincount(label, picture[inside], minlength=count) / area
    return _Letters(left[good], top[good], wide[good], high[good], stroke[good], level[good])


def _ridges(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Where a frame rises above its opening by a disc of a stroke's size.

    The disc is an octagon, a square thickened by crosses: OpenCV takes four times as long with an ellipse.
    """
    size = max(5, round(_STROKE * frame.shape[0])) | 1
    crosses = round(0.29 * size / 2)
    square = np.ones((size - 2 * crosses,) * 2, np.uint8)
    opened = cv2.erode(cv2.erode(frame, square), _CROSS, iterations=crosses)
    opened = cv2.dilate(cv2.dilate(opened, square), _CROSS, iterations=crosses)
    return np.asarray(cv2.threshold(cv2.subtract(frame, opened), _RISE, 1, cv2.THRESH_BINARY)[1])


def _lines(letters: _Letters) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of the rows of letters."""
    N = len(letters.left)
    right, bottom = letters.left + letters.width, letters.top + letters.height
    size = letters.height.astype(np.float64)

    def ratio(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.maximum(values[:, None], values) / np.maximum(np.minimum(values[:, None], values), 1e-9))

    gap = np.maximum(letters.left[None] - right[:, None], letters.left[:, None] - right[None])
    lower = np.minimum(size[:, None], size)
    like = (
        (ratio(size) < 2.0)
        & (ratio(letters.stroke) < 1.7)
        & (np.abs(letters.level[:, None] - letters.level) < 40)
        & (np.abs(bottom[:, None] - bottom) < 0.35 * lower + 1)
        & (gap < 1.3 * np.maximum(size[:, None], size))
        & (gap > -0.3 * lower)
    )
    group = np.arange(N)
    for _ in range(N):  # labels spread along the row
        spread = np.where(like, group, N).min(axis=1)
        if np.array_equal(spread, group):
            break
        group = np.minimum(group, spread)
    for label in np.unique(group):
        row = group == label
        if row.sum() >= _FEWEST_LETTERS and _is_level(letters, row):
            yield (
                int(letters.left[row].min()),
                int(letters.top[row].min()),
                int(right[row].max()),
                int(bottom[row].max()),
            )


def _is_level(letters: _Letters, row: npt.NDArray[np.bool_]) -> bool:
    """Whether a row is level and its components stand side by side, not all over one another."""
    bottom = (letters.top + letters.height)[row]
    size = float(np.median(letters.height[row]))
    length = np.ptp(letters.left[row])
    return bool(np.median(np.abs(bottom - np.median(bottom))) < 0.12 * size + 0.5 and length > 2.0 * size)
