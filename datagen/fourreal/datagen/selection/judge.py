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
    """The reader's check: refuses a clip, or keeps what it found of the last one in `statistics`."""

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
        self.statistics: dict[str, float] = {}

    @property
    def is_still(self) -> bool:
        """Whether the last clip shows a still scene."""
        return self.still.holds(self.statistics)

    def __call__(self, clip: Clip) -> None:
        """Raise ItemFailure with the reason for a clip that is no good."""
        self.judge(clip.greys, len(clip.times_s))

    def judge(self, greys: Greys, times: int) -> None:
        """The same for the brightness of a clip without bars, of so many frames."""
        self.statistics = {}
        small = greys(_TRACKED_SIDE, times)
        self._know(look_statistics(small, greys(max(self.height, self.width), _SHARPNESS_FRAMES)), times)
        self._know({"text_share": text_share(greys(_READ_SIDE, _READ_FRAMES))}, times)
        motion = motion_statistics(small)
        if not self._is_plain(motion, times):
            motion = motion_statistics(small, DENSE)
        self._know(motion, times)
        if self.still_scenes == "skip" and self.is_still:
            raise ItemFailure("filter", "still_scene", "only the camera moves (--still-scenes skip)")
        if self.still_scenes == "only" and not self.is_still:
            raise ItemFailure("filter", "moving_scene", "more moves than the camera (--still-scenes only)")

    def _is_plain(self, motion: dict[str, float], times: int) -> bool:
        """Whether a few points are enough: they may accept a clip; for all else it takes as many as there are."""
        try:
            check_clip(self.statistics | motion, self.filters, times=times)
        except ItemFailure:
            return False
        return not self.still.holds(motion)

    def _know(self, found: dict[str, float], times: int) -> None:
        self.statistics |= found
        check_clip(self.statistics, self.filters, times=times)
