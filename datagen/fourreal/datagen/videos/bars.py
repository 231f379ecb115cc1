"""Dark bars of a letterbox."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; right and bottom are not inside."""

_BAR_LEVEL = 20
"""A row or column that never gets brighter than this is taken for a bar of the letterbox."""
_MOST_BAR = 0.3
"""More than this share on one side is darkness in the scene, not a bar."""


def bright_box(brightest: npt.NDArray[np.uint8]) -> Box:
    """The part of a clip inside its bars; `brightest` `[H, W]` is the largest value of each pixel over all times."""
    top, bottom = _bright_span(brightest.max(axis=1))
    left, right = _bright_span(brightest.max(axis=0))
    return left, top, right, bottom


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
