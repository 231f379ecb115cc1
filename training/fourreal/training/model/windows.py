"""Grids larger than a model's: windows over views and times, each conditioned on what earlier ones made.

Shape legend: V views, T times, H W pixels.

Windows are worked through view by view: first along time over the first views, then along time over the next, each
overlapping its neighbours. A window is given every frame in it that is known by then, from the user or from an earlier
window, and makes the others; so each frame is made once. With the fixed-view video x[0, :] and the freeze-time video
x[:, 0] given and an overlap of one, that is exactly the condition of a whole grid: the first view and the first time
of the window.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_MSE_FLOOR = 1 / 12  # of rounding to 8 bits; equal frames would otherwise score infinity


@dataclass(frozen=True)
class Windows:
    """Size and overlap of windows. ValueError when they do not fit each other.

    `check`: make the overlaps once more, from the window's first view and first time alone, and compare them with the
    frames that were kept: how far what a window makes agrees with its neighbours. It costs a second sample a window.
    """

    views: int
    times: int
    view_overlap: int = 1
    time_overlap: int = 1
    check: bool = False

    def __post_init__(self) -> None:
        for axis, size, overlap in (
            ("views", self.views, self.view_overlap),
            ("times", self.times, self.time_overlap),
        ):
            if size < 2 or not 1 <= overlap < size:
                raise ValueError(
                    f"a window of {size} {axis} that shares {overlap} with the next cannot go on; "
                    f"windows need at least 2, and share at least 1 and fewer than they have"
                )
        if self.check and self.view_overlap == 1 and self.time_overlap == 1:
            raise ValueError(
                "windows that share one view and one time are given both and make neither again, so there is nothing "
                "to check; let them share 2 or more"
            )

    def places(self, views: int, times: int) -> list[tuple[slice, slice]]:
        """Views and times of each window, in the order in which they are made. Together they cover the grid."""
        return [
            (slice(v, min(v + self.views, views)), slice(t, min(t + self.times, times)))
            for v in _starts(views, self.views, self.view_overlap)
            for t in _starts(times, self.times, self.time_overlap)
        ]


class MakeGrid(Protocol):
    """Frames uint8 [V, T, H, W, 3], given [V, T] and a seed to frames in which all others are made."""

    def __call__(self, frames: Frames, given: Mask, seed: int) -> Frames:
        """The filled grid."""


def fill_in_windows(
    make: MakeGrid, frames: Frames, given: Mask, windows: Windows, seed: int
) -> tuple[Frames, list[dict[str, Any]]]:
    """The grid with every frame that is not given made once, and a record of each window that made some.

    frames: [V, T, H, W, 3], of which only those `given` [V, T] are read
    record: view, time (where it begins), views, times, seed, made (frames), and overlap_psnr_db and overlap_frames if
    overlaps were checked: the mean over frames, None where there was nothing to compare
    ValueError when a window has no known frame to start from.
    """
    filled, known = np.where(given[..., None, None, None], frames, 0).astype(np.uint8), given.copy()
    records = []
    for place in windows.places(*given.shape):
        inside = known[place]
        if inside.all():
            continue
        views, times = place
        if not inside.any():
            raise ValueError(
                f"the window of views {views.start} to {views.stop - 1} and times {times.start} to {times.stop - 1} "
                f"has no known frame to start from; give frames in it, or larger windows"
            )
        window_seed = seed_at(seed, views.start, times.start)
        made = make(filled[place], inside, window_seed)
        record = {
            "view": views.start,
            "time": times.start,
            "views": inside.shape[0],
            "times": inside.shape[1],
            "seed": window_seed,
            "made": int((~inside).sum()),
        }
        if windows.check:
            record |= _compare(make, filled[place], inside, given[place], window_seed)
        filled[place] = np.where(inside[..., None, None, None], filled[place], made)
        known[place] = True
        records.append(record)
    return filled, records


def seed_at(seed: int, view: int, time: int) -> int:
    """The seed of the window that begins there; the first has the seed itself, as a grid of one window has."""
    if view == 0 and time == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{view}:{time}".encode()).digest()[:8], "big") >> 1


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """Where windows begin; the last is moved back to end where the axis ends."""
    last = max(0, length - size)
    return [*range(0, last, size - overlap), last]


def _compare(make: MakeGrid, frames: Frames, known: Mask, given: Mask, seed: int) -> dict[str, Any]:
    """Overlaps made again from the window's first view and time, against the kept ones."""
    border = np.zeros_like(known)
    border[0], border[:, 0] = True, True
    condition = known & (border | given)
    again = known & ~condition
    if not again.any() or not condition.any():
        return {"overlap_frames": 0, "overlap_psnr_db": None}
    error = make(frames, condition, seed)[again].astype(np.float64) - frames[again]
    psnr = 10 * np.log10(255**2 / np.maximum(np.square(error).mean(axis=(1, 2, 3)), _MSE_FLOOR))
    return {"overlap_frames": int(again.sum()), "overlap_psnr_db": float(psnr.mean())}
