"""Shot boundaries, streamed over small frames: hard cuts, dissolves and fades.

Hard cuts are found by the rule of PySceneDetect's adaptive detector, in the same frames (tests/datagen/videos/
test_cuts.py); it is asked of every frame that is decoded, for which its own code takes three times as long. It does not
see gradual cuts, for which there is a rule of our own: in a dissolve (or a fade, a dissolve with black) a frame is the
mean of those as far before and after it, pixel by pixel; in a scene that moves it is not, except where next to nothing
changes.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

SmallFrame = npt.NDArray[np.uint8]
"""uint8 `[36, 64, 3]`, whatever the video's shape and colour order."""

SMALL_SIZE = (64, 36)
"""Width and height."""
LOOK_AHEAD = 2
"""A hard cut is known when so many frames after it have been seen."""
_MIN_CONTENT, _MIN_RATIO = 14.0, 3.0
"""Change from one frame to the next (PySceneDetect's own limit, 15, missed a shot and its mirror image in fog), and
how many times that of its neighbours."""
_REACHES = (4, 8)
"""Frames from the middle of a piece of a dissolve to its ends."""
_MIN_CHANGE = 5.0
"""Grey levels that the ends of a piece differ by, on average."""
_MOST_BEND = 0.2
"""Distance of the middle from the mean of the ends, as a share of theirs: 0.05 to 0.15 in dissolves, 0.3 in the
slowest pans and 0.4 to 0.7 in other motion (tests/datagen/videos/test_cuts.py)."""


class CutDetector:
    """Finds the frames at which a clip must not go on: a clip crosses a cut when it has frames on both sides.

    Starts with the first frame it is shown, and is asked to `finish` after the last.
    """

    def __init__(self) -> None:
        self._changes: deque[float] = deque(maxlen=2 * LOOK_AHEAD + 1)
        """From a frame to the next, of the last few."""
        self._hsv: SmallFrame | None = None
        self._shown = 0
        """Frames shown to the hard cuts' detector; the first of them are padding."""
        self._recent: deque[SmallFrame] = deque(maxlen=2 * max(_REACHES) + 1)
        self._count = 0

    def push(self, frame: SmallFrame) -> list[int]:
        """Show the next frame; returns the numbers of frames that are not of one shot with the frame before."""
        if not self._recent:
            # The detector compares a frame with both sides; before the first there is a still picture.
            for _ in range(LOOK_AHEAD):
                self._show(frame)
        self._recent.append(frame)
        self._count += 1
        return self._show(frame) + self._gradual()

    def finish(self) -> list[int]:
        """Like `push`, with a still picture after the last frame."""
        return [cut for _ in range(LOOK_AHEAD) for cut in self._show(self._recent[-1])] if self._recent else []

    def _show(self, frame: SmallFrame) -> list[int]:
        hsv = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2HSV), np.uint8)
        before, self._hsv = self._hsv, hsv
        self._changes.append(0.0 if before is None else _mean_distance(hsv, before))
        self._shown += 1
        if len(self._changes) < 2 * LOOK_AHEAD + 1:
            return []
        change = self._changes[LOOK_AHEAD]
        around = (sum(self._changes) - change) / (2 * LOOK_AHEAD)
        is_cut = change >= _MIN_CONTENT and change >= _MIN_RATIO * around
        return [self._shown - 1 - 2 * LOOK_AHEAD] if is_cut else []

    def _gradual(self) -> list[int]:
        """The middle of a piece of a dissolve that ends here."""
        for reach in _REACHES:
            if len(self._recent) > 2 * reach:
                first, middle, last = (self._recent[-1 - i * reach] for i in (2, 1, 0))
                change = _mean_distance(first, last)
                if change >= _MIN_CHANGE:
                    mean = cv2.addWeighted(first, 0.5, last, 0.5, 0.0)
                    if _mean_distance(middle, np.asarray(mean, np.uint8)) < _MOST_BEND * change:
                        return [self._count - 1 - reach]
        return []


def _mean_distance(one: SmallFrame, other: SmallFrame) -> float:
    return cv2.norm(one, other, cv2.NORM_L1) / one.size
