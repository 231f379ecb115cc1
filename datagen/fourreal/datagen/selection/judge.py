"""Measuring a clip, cheapest first, until something is found to refuse it for."""

from __future__ import annotations

from typing import Literal

from fourreal.datagen.selection.filters import ClipFilters, check_clip
from fourreal.datagen.selection.look import look_statistics
from fourreal.datagen.selection.motion import motion_statistics
from fourreal.datagen.selection.overlay import text_share
from fourreal.datagen.selection.still_scenes import StillScenes
from fourreal.datagen.selection.tracks import DENSE
from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.greys import Greys
from fourreal.platform.datajob import ItemFailure

StillScenesPolicy = Literal["keep", "skip", "only"]

_TRACKED_SIDE = 256
"""Longer side of the frames that points are followed in, pixels."""
_READ_SIDE = 480
"""Longer side of the frames that text is sought in, pixels."""
_READ_FRAMES, _SHARPNESS_FRAMES = 3, 3


class ClipJudge:
    """The reader's check: refuses a clip, or gives what it measured of it.

    It keeps nothing of a clip: one that is no longer waited for may still be measured, in its own thread.
    """

    def __init__(
        self,
        filters: ClipFilters,
        height: int,
        width: int,
        *,
        still: StillScenes,
        still_scenes: StillScenesPolicy = "keep",
    ) -> None:
        """`height` and `width` are those of the grids' frames, by which sharpness is judged."""
        self.filters, self.height, self.width = filters, height, width
        self.still, self.still_scenes = still, still_scenes

    def __call__(self, clip: Clip) -> dict[str, float]:
        """The statistics of a clip. Raise ItemFailure with the reason for one that is no good."""
        return self.judge(clip.greys, len(clip.times_s))

    def judge(self, greys: Greys, times: int) -> dict[str, float]:
        """The same for the brightness of a clip without bars, of so many frames."""
        small = greys(_TRACKED_SIDE, times)
        known = look_statistics(small, greys(max(self.height, self.width), _SHARPNESS_FRAMES))
        check_clip(known, self.filters, times=times)
        known |= {"text_share": text_share(greys(_READ_SIDE, _READ_FRAMES))}
        check_clip(known, self.filters, times=times)
        motion = motion_statistics(small)
        if not self._is_plain(known | motion, times):
            motion = motion_statistics(small, DENSE)
        known |= motion
        check_clip(known, self.filters, times=times)
        is_still = self.still.holds(known)
        if self.still_scenes == "skip" and is_still:
            raise ItemFailure("filter", "still_scene", "only the camera moves (--still-scenes skip)")
        if self.still_scenes == "only" and not is_still:
            raise ItemFailure("filter", "moving_scene", "more moves than the camera (--still-scenes only)")
        return known

    def _is_plain(self, known: dict[str, float], times: int) -> bool:
        """Whether a few points are enough: they may accept a clip; for all else it takes as many as there are."""
        try:
            check_clip(known, self.filters, times=times)
        except ItemFailure:
            return False
        return not self.still.holds(known)
