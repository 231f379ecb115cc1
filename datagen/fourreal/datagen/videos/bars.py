"""The dark bars of a letterbox or pillarbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; right and bottom are not inside."""
_Grey = npt.NDArray[np.uint8]
Brightest = Callable[[tuple[slice, slice]], _Grey]
"""Of some frames, some rows and columns: the largest grey value of each pixel over these frames, `[H, W]`."""

_ALL = slice(None)
_DARK = 24
"""Grey level up to which most of a row of a bar stays; limited-range black, noise and rounding lie below."""
_MOST_PERCENT = 65
"""Most of a row is plain; a logo may have the rest."""
_PLAIN = 5
"""Grey levels that these lie apart at most."""
_STEP = 10
"""At a bar's end most columns get brighter by so many grey levels at once; a night sky does not."""
_LARGEST = 0.3
"""More than this share on one side is darkness in the scene, not a bar."""
_OFF_MIDDLE = 2.0
"""A bar is so many times as large as the other at most; what is dark beyond that is of the scene."""
_SAMPLES = 256
"""Pixels of a row that are looked at, of those that there are."""
_SMEAR = 2
"""The codec smears the edge of a bar: so many more rows go with it."""


def bright_box(first: Brightest, brightest: Brightest, width: int, height: int) -> Box:
    """The part of a clip inside its bars, whatever logo, subtitle or noise lies in them.

    `first` is of the clip's first frame alone, `brightest` of all.

    Bars come in pairs and end in a straight edge across the frame on one side at least (on the other the picture may be
    dark there, too). So a clip of a dark scene loses the same rows as its bright neighbours, or none. Where the picture
    lies off the middle, a bar that has an edge of its own ends there. One bar alone stays: a black sky over a bright
    ground looks the same.
    """
    # Most clips have light at the rims of their first frame, and the others are not looked at; of most of the rest the
    # rims are enough.
    if all(_is_lit(rim) for rim in _rims(first, width, height)):
        return 0, 0, width, height
    if not any(_dark_rows(rim) for rim in _rims(brightest, width, height)):
        return 0, 0, width, height
    smooth = cv2.blur(brightest((_ALL, _ALL)), (3, 3))
    top, bottom = _bars(np.asarray(smooth))
    left, right = _bars(np.asarray(smooth[top : height - bottom].T))
    return left, top, width - right, height - bottom


def _rims(brightest: Brightest, width: int, height: int) -> Iterator[_Grey]:
    """The outermost rows of all four sides, smooth, from the outside in."""
    for inside_out in (
        brightest((slice(0, 2), _ALL)),
        brightest((slice(height - 2, height), _ALL))[::-1],
        brightest((_ALL, slice(0, 2))).T,
        brightest((_ALL, slice(width - 2, width))).T[::-1],
    ):
        yield np.asarray(cv2.blur(inside_out, (3, 3)))


def _bars(picture: _Grey) -> tuple[int, int]:
    """Rows to cut off at the top and at the bottom."""
    sides = picture, picture[::-1]
    dark = [_dark_rows(side) for side in sides]
    for size in sorted({n for n in dark if 0 < n <= _LARGEST * len(picture)}, reverse=True):
        edges = [_ends_in_an_edge(side, size) for side in sides]
        # Where a subtitle lies in a bar it does not end in darkness, but it has its edge.
        if any(edges) and all(edge or rows >= size for edge, rows in zip(edges, dark, strict=True)):
            top, bottom = (_own_size(side, rows, size) for side, rows in zip(sides, dark, strict=True))
            return top + _SMEAR, bottom + _SMEAR
    return 0, 0


def _own_size(side: _Grey, dark_rows: int, size: int) -> int:
    """The size of a bar of a pair of this size: what is dark here, where that ends in an edge and is not much more."""
    is_own = size < dark_rows <= min(_OFF_MIDDLE * size, _LARGEST * len(side)) and _ends_in_an_edge(side, dark_rows)
    return dark_rows if is_own else size


def _dark_rows(picture: _Grey) -> int:
    """How many rows from the top on are dark and plain over most of their length; no more than may be of a bar."""
    low, high = _levels(picture[: int(_LARGEST * len(picture)) + 2])
    light = np.flatnonzero((high > _DARK) | (high - low > _PLAIN))
    return int(light[0]) if len(light) else len(high)


def _is_lit(rim: _Grey) -> bool:
    """Whether the outermost row is too bright for a bar, whatever the other frames of the clip add to it."""
    return bool(_levels(rim[:1])[1] > _DARK)


def _levels(rows: _Grey) -> tuple[_Grey, _Grey]:
    """The grey level of each row that few of its pixels are below, and the one that most are."""
    part = np.ascontiguousarray(rows[:, :: max(1, rows.shape[1] // _SAMPLES)])
    places = [round(percent / 100 * (part.shape[1] - 1)) for percent in (5, _MOST_PERCENT)]
    low, high = np.partition(part, places, axis=1)[:, places].T  # np.percentile interpolates, at four times the cost
    return low, high


def _ends_in_an_edge(picture: _Grey, size: int) -> bool:
    inside, outside = picture[size + 1 : size + 1 + _SMEAR], picture[max(0, size - 1 - _SMEAR) : max(1, size - 1)]
    return bool(np.median(inside.mean(axis=0) - outside.mean(axis=0)) >= _STEP)
