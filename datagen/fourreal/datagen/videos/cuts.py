"""Shot boundaries: PySceneDetect's adaptive detector, streamed over small frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

LOOK_AHEAD = 2
"""A cut is known when so many frames after it have been seen."""
SMALL_SIZE = (64, 36)
"""Width and height of the frames to look at, whatever the video's shape."""
_MIN_CONTENT = 15.0


class CutDetector:
    """Finds where shots begin. Starts with the first frame it is shown, and is asked to `finish` after the last."""

    def __init__(self) -> None:
        self._detector = AdaptiveDetector(min_scene_len=1, window_width=LOOK_AHEAD, min_content_val=_MIN_CONTENT)
        self._count = 0
        """Frames shown to the detector; the first of them are padding."""
        self._last: npt.NDArray[np.uint8] | None = None

    def push(self, frame: npt.NDArray[np.uint8]) -> list[int]:
        """Show the next frame, uint8 `[36, 64, 3]` BGR; returns the numbers of frames that begin a shot."""
        if self._last is None:
            # The detector compares a frame with both sides; before the first there is a still picture.
            for _ in range(LOOK_AHEAD):
                self._show(frame)
        self._last = frame
        return self._show(frame)

    def finish(self) -> list[int]:
        """Like `push`, with a still picture after the last frame."""
        found: list[int] = []
        for _ in range(LOOK_AHEAD if self._last is not None else 0):
            assert self._last is not None
            found += self._show(self._last)
        return found

    def _show(self, frame: npt.NDArray[np.uint8]) -> list[int]:
        found = self._detector.process_frame(FrameTimecode(self._count, fps=25.0), frame)
        self._count += 1
        return [int(cut.frame_num) - LOOK_AHEAD for cut in found]
