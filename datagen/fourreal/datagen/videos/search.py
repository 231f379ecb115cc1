"""The search for a clip in the frames of a window, as they are decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.cuts import LOOK_AHEAD, SMALL_SIZE, CutDetector, SmallFrame
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.video import DecodedFrame, VideoInfo


def _kind(frame: DecodedFrame) -> tuple[int, int, str]:
    return frame.image.width, frame.image.height, frame.image.format.name


def _pixels(small: av.VideoFrame) -> SmallFrame:
    """The frame's own memory: this is asked of every frame that is decoded, and a copy costs as much as the scaling."""
    plane = small.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[:, : 3 * small.width].reshape(small.height, small.width, 3)


ClipCheck = Callable[[Clip], Mapping[str, float]]
"""Gives what it measured of a clip, which stays with the clip; raises ItemFailure for one that is no good: the next in
the window is tried then."""


class _Candidate:
    """A clip that is being put together."""

    def __init__(self, first: int, start_s: float) -> None:
        self.first = self.last = first
        """Numbers, in the window, of its first frame and of the last one taken."""
        self.start_s = start_s
        self.frames: list[av.VideoFrame] = []
        self.times_s: list[float] = []

    def take(self, number: int, frame: DecodedFrame) -> None:
        """Take the frame of the next time."""
        self.last = number
        self.frames.append(frame.image)
        self.times_s.append(frame.time_s)


class ClipSearch:
    """Takes the frames of a window one by one and gives the first good clip.

    For each time of a clip the frame is taken that a player shows then; no frame serves two times. Clips that are
    tried do not overlap.
    """

    def __init__(self, timing: Timing, info: VideoInfo, check: ClipCheck) -> None:
        self.timing, self.info, self.check = timing, info, check
        self.frame_s, self.step_s = timing.frame_s(info.fps), timing.step_s(info.fps)
        self.tolerance_s = 0.25 * min(self.step_s, self.frame_s)
        """Containers round times, to a millisecond or so."""
        self._refusals: Counter[str] = Counter()
        self._words: dict[str, str] = {}
        """What was said last, by reason."""
        self._cuts = CutDetector()
        self._reformatter = VideoReformatter()
        self._count = 0
        """Frames before the one that is looked at."""
        self._last: DecodedFrame | None = None
        self._candidate: _Candidate | None = None

    def push(self, frame: DecodedFrame) -> Clip | None:
        """Look at the next frame; the clip that is found with it."""
        small = self._reformatter.reformat(
            frame.image, *SMALL_SIZE, "bgr24", interpolation=Interpolation.FAST_BILINEAR, threads=1
        )
        if frame.after_damage and not self._is_whole():
            self._refuse("corrupt", "packets before a frame cannot be decoded")
        if self._last is not None and _kind(frame) != _kind(self._last):
            self._refuse("cut", "the size or format of frames changes")
        self._take_until(frame.time_s - self.tolerance_s)
        self._refuse_across(self._cuts.push(_pixels(small)))
        clip = self._check() if self._is_known_to_be_whole() else None
        if clip is None and self._candidate is None:
            self._candidate = _Candidate(self._count, frame.time_s)
        self._last = frame
        self._count += 1
        return clip

    def finish(self) -> Clip | None:
        """The clip that is found when the window ends."""
        if self._last is not None:
            self._take_until(self._last.time_s + self.frame_s - self.tolerance_s)
        self._refuse_across(self._cuts.finish())
        return self._check() if self._is_whole() else None

    @property
    def refused_any(self) -> bool:
        """Whether a clip was tried at all."""
        return bool(self._refusals)

    def failure(self, address: str) -> ItemFailure:
        """Why no clip was found: the most frequent reason."""
        if not self._count:
            return ItemFailure("decode", "no_frames", f"{address} gives no frame here")
        if not self._refusals:
            needed_s = (self.timing.times - 1) * self.step_s
            message = (
                f"{address} has {self._count} frames here, too few for {needed_s:.2f} s: "
                "use fewer --times, a smaller --stride or a larger --fps"
            )
            return ItemFailure("decode", "too_short", message)
        ((reason, count),) = self._refusals.most_common(1)
        tried = self._refusals.total()
        return ItemFailure("clip", reason, f"{count} of {tried} clips tried of {address}: {self._words[reason]}")

    def _is_whole(self) -> bool:
        return self._candidate is not None and len(self._candidate.frames) == self.timing.times

    def _is_known_to_be_whole(self) -> bool:
        """Whether no cut among its frames can come to light any more."""
        return self._is_whole() and self._candidate is not None and self._count >= self._candidate.last + LOOK_AHEAD

    def _take_until(self, time_s: float) -> None:
        """The last frame is shown until then: take it for the times that fall in between."""
        candidate, last = self._candidate, self._last
        if candidate is None or last is None:
            return
        while len(candidate.frames) < self.timing.times:
            if candidate.start_s + len(candidate.frames) * self.step_s >= time_s:
                return
            if candidate.times_s and candidate.times_s[-1] == last.time_s:
                self._refuse(
                    "low_fps", "one frame is shown at two of the times: use a larger --stride or smaller --fps"
                )
                return
            candidate.take(self._count - 1, last)

    def _refuse_across(self, cuts: list[int]) -> None:
        """Refuse the candidate when a shot begins among its frames, or where it is still growing."""
        candidate = self._candidate
        if candidate is None:
            return
        end = candidate.last if self._is_whole() else self._count
        if any(candidate.first < cut <= end for cut in cuts):
            self._refuse("cut", "another shot begins in the middle")

    def _check(self) -> Clip | None:
        """The candidate as a clip, when the check accepts it."""
        assert self._candidate is not None
        clip = Clip(self._candidate.frames, self._candidate.times_s, 1.0 / self.step_s, self.info.pixel_aspect)
        try:
            clip.statistics = self.check(clip)
        except ItemFailure as failure:
            self._refuse(failure.reason, failure.message)
            return None
        return clip

    def _refuse(self, reason: str, words: str) -> None:
        if self._candidate is not None:
            self._refusals[reason] += 1
            self._words[reason] = words
            self._candidate = None
