"""A grid at a glance: views from top to bottom, times from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

_GAP = 2
_MARGIN = 8
_BACKGROUND = 24


def contact_sheet(frames: npt.NDArray[np.uint8], *, most: int = 8, max_frame_width: int = 160) -> Image:
    """Lay out frames `[V, T, H, W, 3]` as one RGB picture, at most `most` evenly spread views and times."""
    views = _spread(frames.shape[0], most)
    times = _spread(frames.shape[1], most)
    H, W = frames.shape[2:4]
    scale = min(1.0, max_frame_width / W)
    size = (max(1, round(W * scale)), max(1, round(H * scale)))
    rows = []
    for v in views:
        row = [cv2.resize(frames[v, t], size, interpolation=cv2.INTER_AREA) for t in times]
        rows.append(_join(row, axis=1))
    return _join(rows, axis=0)


def stack_sheets(sheets: Sequence[Image], titles: Sequence[str], columns: int = 1) -> Image:
    """Put titled sheets below one another, `columns` of them side by side."""
    width = max(sheet.shape[1] for sheet in sheets)
    height = max(sheet.shape[0] for sheet in sheets)
    tiles = []
    for sheet, title in zip(sheets, titles, strict=True):
        bar = np.full((22, width + _MARGIN, 3), _BACKGROUND, np.uint8)
        cv2.putText(bar, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
        padding = ((0, height - sheet.shape[0] + _MARGIN), (0, width - sheet.shape[1] + _MARGIN), (0, 0))
        tiles.append(np.concatenate([bar, np.pad(sheet, padding, constant_values=_BACKGROUND)]))
    blank = np.full_like(tiles[0], _BACKGROUND)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def write_png(path: str | Path, image: Image) -> None:
    """Write an RGB picture. Raises OSError when it cannot be written."""
    ok, data = cv2.imencode(".png", image[..., ::-1])
    assert ok
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data.tobytes())


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})


def _join(images: Sequence[Image], axis: int) -> Image:
    shape = list(images[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, _BACKGROUND, np.uint8)
    parts = [part for image in images for part in (image, gap)]
    return np.concatenate(parts[:-1], axis=axis)
