"""Unit vectors in 2 x 12 bits: the octahedron's faces unfolded onto a square.

Method: Cigolle et al., "A Survey of Efficient Representations for Independent Unit Vectors", JCGT 3(2), 2014,
section 3 ("oct"). Letters: H rows, W columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_HALF = 2047
"""Steps from the middle of the square to its edge, so that the axes are exact; 0 stands for no vector."""
_MIDDLE = _HALF + 1


def directions_to_integers(directions: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Encode `[H, W, 3]`, of length 1 or NaN for none, as `[2 H, W]`: the square's x above its y."""
    known = np.isfinite(directions).all(axis=-1)
    x, y, z = np.moveaxis(np.where(known[..., None], directions, 1.0).astype(np.float64), -1, 0)
    length = np.abs(x) + np.abs(y) + np.abs(z)
    x, y = x / length, y / length
    folded_x, folded_y = _fold(x, y)
    square = np.stack([np.where(z < 0.0, folded_x, x), np.where(z < 0.0, folded_y, y)])
    integers = np.where(known, np.rint(square * _HALF) + _MIDDLE, 0.0)
    return integers.astype(np.uint16).reshape(-1, directions.shape[1])


def integers_to_directions(integers: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The inverse: `[2 H, W]` to float32 `[H, W, 3]`. Raises ValueError for anything else."""
    if integers.dtype != np.uint16 or integers.ndim != 2 or len(integers) % 2:
        raise ValueError(f"no packed directions: {integers.dtype} {integers.shape}")
    halves = integers.reshape(2, -1, integers.shape[1])
    x, y = np.clip((halves.astype(np.float64) - _MIDDLE) / _HALF, -1.0, 1.0)
    z = 1.0 - np.abs(x) - np.abs(y)
    folded_x, folded_y = _fold(x, y)
    directions = np.stack([np.where(z < 0.0, folded_x, x), np.where(z < 0.0, folded_y, y), z], axis=-1)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.where((halves > 0).all(axis=0)[..., None], directions, np.nan).astype(np.float32)


def _fold(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
    """Mirror at the square's diagonals: between its inside (z > 0) and its corners (z < 0)."""
    return (1.0 - np.abs(y)) * np.where(x < 0.0, -1.0, 1.0), (1.0 - np.abs(x)) * np.where(y < 0.0, -1.0, 1.0)
