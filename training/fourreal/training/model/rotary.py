"""Rotary positions over frame, y and x.

Shape legend: S = N*L tokens of a sequence (N frames of L patches), D head numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BASE = 100.0  # sequences here are tens of positions long, not thousands of words


def rotary_table(frames: int, patch_grid: tuple[int, int], head_dim: int) -> Tensor:
    """Cosines and sines of every token's rotation angles, [2, S, head_dim / 2].

    The pairs of a head are dealt to the three axes as evenly as they go; what is left over stays with the frame
    axis (RoPE, Su et al. 2021, on three axes).
    """
    pairs = head_dim // 2
    per_space = pairs // 3
    lengths = (frames, *patch_grid)
    counts = (pairs - 2 * per_space, per_space, per_space)
    positions = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in lengths)).view(-1, 3)
    angles = torch.cat(
        [
            positions[:, axis, None] * _BASE ** (-torch.arange(count, dtype=torch.float32) / count)
            for axis, count in enumerate(counts)
        ],
        dim=1,
    )
    return torch.stack([angles.cos(), angles.sin()])


def rotate(heads: Tensor, table: Tensor) -> Tensor:
    """Turn queries or keys [..., S, D] by `table` [2, S, D / 2]; the first half of D pairs with the second."""
    cos, sin = table
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
