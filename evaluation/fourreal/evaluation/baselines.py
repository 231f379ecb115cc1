"""Predictions that learn nothing: what a model must beat before its score means anything.

Each takes the two conditioning videos of a grid `x[v, t]`, the freeze-time video `x[:, 0]` and the fixed-view video
`x[0, :]`, and fills the grid; the given frames come back as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]

BLUR_SIGMA_OF_WIDTH = 1 / 32
"""Standard deviation of the blurred average, in widths of the frame: 1.5 px at 48 wide, 5 px at 160."""


def copy_along_time(freeze_time: Frames, fixed_view: Frames) -> Frames:
    """`x[v, 0]` at every time: exact where nothing moves. Shapes as in `BASELINES`."""
    return _with_given(np.repeat(freeze_time[:, None], len(fixed_view), axis=1), freeze_time, fixed_view)


def copy_along_views(freeze_time: Frames, fixed_view: Frames) -> Frames:
    """`x[0, t]` at every view: exact where the camera stands still."""
    return _with_given(np.repeat(fixed_view[None], len(freeze_time), axis=0), freeze_time, fixed_view)


def average(freeze_time: Frames, fixed_view: Frames) -> Frames:
    """The mean of the two copies, rounded half up."""
    total = freeze_time[:, None].astype(np.uint16) + fixed_view[None] + 1
    return _with_given((total // 2).astype(np.uint8), freeze_time, fixed_view)


def blurred_average(freeze_time: Frames, fixed_view: Frames) -> Frames:
    """The average under a Gaussian blur of `BLUR_SIGMA_OF_WIDTH`: PSNR rewards blur, so a model must beat it too."""
    frames = average(freeze_time, fixed_view)
    sigma_px = blur_sigma_px(frames.shape[3])
    for view in frames[1:]:
        for frame in view[1:]:  # the others are given
            frame[:] = cv2.GaussianBlur(frame, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return _with_given(frames, freeze_time, fixed_view)


def additive(freeze_time: Frames, fixed_view: Frames) -> Frames:
    """`x[v, 0] + x[0, t] - x[0, 0]`, clipped: exact where change over views and change over time just add up."""
    total = freeze_time[:, None].astype(np.int16) + fixed_view[None] - fixed_view[0].astype(np.int16)
    return _with_given(total.clip(0, 255).astype(np.uint8), freeze_time, fixed_view)


def blur_sigma_px(width: int) -> float:
    """The standard deviation of `blurred_average` for frames of this width, pixels."""
    return width * BLUR_SIGMA_OF_WIDTH


BASELINES: Mapping[str, Callable[[Frames, Frames], Frames]] = {
    "copy along time": copy_along_time,
    "copy along views": copy_along_views,
    "average": average,
    "blurred average": blurred_average,
    "additive": additive,
}
"""By the name in tables: freeze_time uint8 `[V, H, W, 3]` and fixed_view uint8 `[T, H, W, 3]` (which share the frame
`x[0, 0]`) to uint8 `[V, T, H, W, 3]`."""


def _with_given(frames: Frames, freeze_time: Frames, fixed_view: Frames) -> Frames:
    if not np.array_equal(freeze_time[0], fixed_view[0]):
        raise ValueError("the freeze-time and the fixed-view video must share their first frame")
    frames[:, 0] = freeze_time
    frames[0, :] = fixed_view
    return frames
