"""What is known of a frame before anything is learned: the nearest given frames of its sequence, blended by distance.

Shape legend: S sequences, N frames of a sequence, C H W numbers of a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def blend_of_given(frames: Tensor, given: Tensor) -> Tensor:
    """For each frame, the given ones before and after it mixed by distance; outside of these, the nearest.

    frames: [S, N, C, H, W]; given: [S, N] bool
    returns [S, N, C, H, W]: given frames themselves, and 0 where a sequence has none
    """
    return torch.einsum("snm,smchw->snchw", blend_weights(given).to(frames.dtype), frames)


def blend_weights(given: Tensor) -> Tensor:
    """How much of each frame the blend takes: given [S, N] bool to [S, N, N], rows that sum to 1, or to 0."""
    N = given.shape[1]
    left, right = nearest_given(given)
    place = torch.arange(N, device=given.device)
    share = (place - left) / (right - left).clamp_min(1)
    weights = (1 - share)[..., None] * functional.one_hot(left, N) + share[..., None] * functional.one_hot(right, N)
    return weights * given.any(dim=1)[:, None, None]


def nearest_given(given: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers [S, N] of the given frames at or before each frame, and at or after it; the other where there is none.

    given: [S, N] bool; numbers mean nothing in a sequence that has none.
    """
    N = given.shape[1]
    place = torch.arange(N, device=given.device).expand_as(given)
    before = torch.where(given, place, -1).cummax(dim=1).values
    after = torch.where(given, place, N).flip(1).cummin(dim=1).values.flip(1)
    left = torch.where(before < 0, after, before).clamp_max(N - 1)
    right = torch.where(after == N, before, after).clamp_min(0)
    return left, right
