"""Rotary positions over frame, y and x.

Shape legend: S = N*L tokens of a sequence (N frames of L patches), D head numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BASE = 100.0  # sequences here are tens of positions long, not thousands of words


def rotary_table(frames: Tensor, patch_grid: tuple[int, int], head_dim: int) -> Tensor:
    """Cosines and sines of every token's rotation angles, [2, S, 1, head_dim / 2]; frame positions [N].

    The pairs of a head are dealt to the three axes as evenly as they go; what is left over stays with the frame
    axis (RoPE, Su et al. 2021, on three axes).
    """
    pairs = head_dim // 2
    per_space = pairs // 3
    counts = (pairs - 2 * per_space, per_space, per_space)
    rows, columns = (torch.arange(length, device=frames.device) for length in patch_grid)
    axes = torch.meshgrid(frames.float(), rows.float(), columns.float(), indexing="ij")
    angles = torch.cat(
        [
            axis.reshape(-1, 1) * _BASE ** (-torch.arange(count, dtype=torch.float32, device=axis.device) / count)
            for axis, count in zip(axes, counts, strict=True)
        ],
        dim=1,
    )
    return torch.stack([angles.cos(), angles.sin()])[:, :, None]


def rotate_halves(heads: Tensor, table: Tensor) -> Tensor:
    """Turn queries or keys [B, S, heads, D] by `table` [2, S, 1, D / 2]; the first half of D pairs with the second."""
    cos, sin = table
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).type_as(heads)


def rotate_pairs(heads: Tensor, table: Tensor) -> Tensor:
    """Turn [B, S, heads, D] by `table` [2, S, heads or 1, D / 2]; neighbouring numbers of D are a pair."""
    cos, sin = table
    even, odd = torch.unflatten(heads, -1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).type_as(heads)
