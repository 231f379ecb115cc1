"""Procedural grids for the tests of this room."""

from __future__ import annotations

import numpy as np

from fourreal.platform.grid import Grid, GridMeta


def square_grid(number: int, views: int, times: int, height: int, width: int) -> Grid:
    """A coloured square that moves down with time and to the right with view; `number` is its seed and key."""
    rng = np.random.default_rng(number)
    frames = np.empty((views, times, height, width, 3), np.uint8)
    frames[:] = rng.integers(20, 90, 3)
    colour, top, left = rng.integers(150, 255, 3), rng.integers(0, height // 2), rng.integers(0, width // 2)
    for v in range(views):
        for t in range(times):
            frames[v, t, top + t : top + t + height // 3, left + v : left + v + width // 3] = colour
    frames[..., 0, 0, 0] = number  # tells grids apart
    return Grid(frames=frames, meta=GridMeta(key=f"grid-{number:04d}"))
