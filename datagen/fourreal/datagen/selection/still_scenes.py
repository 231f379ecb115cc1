"""Clips of scenes that stand still while the camera moves: real freeze-time videos.

4Real-Video-V2 (section 4.2) makes a fifth of its training data of such videos, duplicated in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fourreal.datagen.thresholds import Thresholds
from fourreal.datagen.videos.clip import Clip

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class StillScenes(Thresholds):
    """When a clip shows a still scene. Strict: a moving scene taken for a still one teaches what is wrong, a still
    one taken for a moving one costs only itself."""

    FLAG: ClassVar[str] = "still"

    min_camera: float = 0.004
    """The camera moves the picture by so much from one time to the next, as a share of the frame's smaller side."""
    min_rigid: float = 0.93
    """So many of the points move as the camera makes a still scene move, near and far."""
    max_moving_patch: float = 0.8
    """In no patch of the frame do more of the points move otherwise."""
    min_textured: float = 0.1
    """So much of the frame has points that can be followed at all."""
    min_tracked: float = 0.5
    """So many of them can be followed for four frames."""

    def holds(self, statistics: Mapping[str, float]) -> bool:
        """Whether a clip with these statistics (`motion_statistics`) shows a still scene."""
        return (
            statistics["camera_share"] >= self.min_camera
            and statistics["rigid_share"] >= self.min_rigid
            and statistics["moving_patch"] <= self.max_moving_patch
            and statistics["textured_share"] >= self.min_textured
            and statistics["tracked_share"] >= self.min_tracked
        )


def freeze_time_frames(clip: Clip, views: int, height: int, width: int, rng: np.random.Generator) -> Frames:
    """The clip along the view axis, the same at every time: uint8 `[V, T, height, width, 3]`, T the clip's own length.

    The part of the picture is as large as fits, and lies at random where there is room. `views` must not be more than
    the clip has frames. Raises ValueError when the picture would have to be enlarged.
    """
    scale = max(width / clip.size[0], height / clip.size[1])
    if scale > 1.0:
        raise ValueError(f"the video has {clip.size[0]}x{clip.size[1]} pixels, too few for views of {width}x{height}")
    shrunk = max(width, round(clip.size[0] * scale)), max(height, round(clip.size[1] * scale))
    left, top = int(rng.integers(shrunk[0] - width + 1)), int(rng.integers(shrunk[1] - height + 1))
    frames = clip.images(*shrunk)[:, top : top + height, left : left + width]
    times = len(frames)
    shown = np.linspace(0, times - 1, views).round().astype(int)
    return np.repeat(frames[shown][:, None], times, axis=1)
