"""What a user gives of a grid, checked: videos along its border, or any of its frames.

Shape legend: V views, T times, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fourreal.training.model.windows import Frames, Mask

# Two videos that were compressed apart differ a little in the frame that they share; two scenes differ more.
_SHARED_FRAME_TOLERANCE = 12.0


@dataclass(frozen=True)
class Conditions:
    """Frames uint8 [V, T, H, W, 3], of which those `given`, bool [V, T], count. ValueError for other shapes."""

    frames: Frames
    given: Mask

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 5 or shape[-1] != 3 or 0 in shape:
            raise ValueError(f"frames are {self.frames.dtype} {shape}; give uint8 [V, T, H, W, 3]")
        if self.given.dtype != np.bool_ or self.given.shape != shape[:2]:
            raise ValueError(
                f"given is {self.given.dtype} {self.given.shape} for frames {shape}; give bool {shape[:2]}, [V, T]"
            )
        if self.given.all():
            raise ValueError(f"all {self.given.size} frames are given, which leaves nothing to generate")


def conditions_of(
    fixed_view: Frames | None, freeze_time: Frames | None, views: int | None = None, times: int | None = None
) -> Conditions:
    """x[0, :] and x[:, 0] of a grid, from a fixed-view video [T, H, W, 3] and a freeze-time video [V, H, W, 3].

    Where one is missing, `views` or `times` says how long its axis shall be. The frame that both share, x[0, 0], is
    taken from the fixed-view video. ValueError, naming both sides, for videos that do not fit each other.
    """
    if fixed_view is None and freeze_time is None:
        raise ValueError("no condition was given; give fixed_view, freeze_time, or both")
    T = _length("times", "fixed_view", fixed_view, times)
    V = _length("views", "freeze_time", freeze_time, views)
    videos = [video for video in (fixed_view, freeze_time) if video is not None]
    if videos[0].shape[1:] != videos[-1].shape[1:]:
        raise ValueError(
            f"fixed_view has frames of {_size(videos[0])} pixels and freeze_time of {_size(videos[1])}; resize one"
        )
    frames, given = np.zeros((V, T, *videos[0].shape[1:]), np.uint8), np.zeros((V, T), np.bool_)
    if freeze_time is not None:
        frames[:, 0], given[:, 0] = freeze_time, True
    if fixed_view is not None:
        if freeze_time is not None:
            apart = float(np.abs(fixed_view[0].astype(np.float32) - freeze_time[0]).mean())
            if apart > _SHARED_FRAME_TOLERANCE:
                raise ValueError(
                    f"the first frames of fixed_view and freeze_time differ by {apart:.0f} of 255 grey levels, and "
                    f"both are the frame of view 0 at time 0; let both videos begin with it"
                )
        frames[0], given[0] = fixed_view, True
    return Conditions(frames, given)


def _length(axis: str, name: str, video: Frames | None, asked: int | None) -> int:
    if video is None:
        if asked is None or asked < 1:
            raise ValueError(f"{name} is missing and {axis} is {asked}; say how many {axis} the grid shall have")
        return asked
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or 0 in video.shape:
        raise ValueError(f"{name} is {video.dtype} {video.shape}; give uint8 [{axis}, H, W, 3]")
    if asked is not None and asked != len(video):
        raise ValueError(f"{name} has {len(video)} frames and {axis} is {asked}; leave {axis} out, or cut the video")
    return len(video)


def _size(video: Frames) -> str:
    return f"{video.shape[1]}x{video.shape[2]}"
