"""Small synthetic grids: a bright square that moves with time over a pattern that shifts with the view."""

from __future__ import annotations

from typing import Any

import numpy as np

from fourreal.platform.grid import Grid, GridMeta


def make_grid(
    key: str = "square",
    views: int = 3,
    times: int = 4,
    height: int = 24,
    width: int = 32,
    *,
    view_step_px: int = 3,
    time_step_px: int = 4,
    with_mask: bool = True,
    **meta: Any,
) -> Grid:
    y, x = np.mgrid[:height, :width]
    frames = np.empty((views, times, height, width, 3), np.uint8)
    mask = np.zeros((views, times, height, width), np.uint8)
    side = height // 3
    for v in range(views):
        shifted = x + v * view_step_px
        background = np.stack([shifted * 5 % 200, y * 7 % 200, (shifted + y) * 3 % 200], axis=-1)
        for t in range(times):
            left = (2 + t * time_step_px + v) % (width - side)
            square = (y >= side) & (y < 2 * side) & (x >= left) & (x < left + side)
            frames[v, t] = np.where(square[..., None], (250, 120, 40), background)
            mask[v, t] = square * 255
    return Grid(
        frames=frames,
        mask=mask if with_mask else None,
        homographies=np.broadcast_to(np.eye(3), (views, times, 3, 3)).copy(),
        meta=GridMeta(key=key, **{"fps": 8.0, "licence": "CC0-1.0", "caption": "a square moves", **meta}),
    )
