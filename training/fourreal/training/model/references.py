"""Given frames brought to the frames that a model has to make: what 4Real-Video-V2 adds to the noised tokens.

Shape legend: B samples, N frames of a sequence, V views, T times, R references of a frame, C H W pixels, L patches of a
frame, D trunk width.

A frame of a video has the nearest given ones before and after it. In a view-time grid the frame (v, t) has two that are
known, and a third where they meet: with both videos given x[0, t], x[v, 0] and x[0, 0], which say what changes with the
view, what with time, and what with neither. A transformer finds them by attention, too, once it has learned where to
look; in the minutes of the study's small models it has not.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from fourreal.training.model.given_blend import blend_weights, nearest_given

OF_VIDEO, OF_GRID = 2, 3
"""How many a frame has."""


def video_references(frames: Tensor, given: Tensor) -> Tensor:
    """The nearest given frame before each other one, and after it; the other where there is none.

    frames: [B, N, C, H, W]; given: [B, N] bool
    returns [B, N, 2, C, H, W], 0 where nothing is given, and for given frames
    """
    known = torch.where(given[..., None, None, None], frames, 0.0)
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    found = torch.stack([known[rows, side] for side in nearest_given(given)], dim=2)
    return torch.where(given[..., None, None, None, None], 0.0, found)


def grid_references(frames: Tensor, given: Tensor) -> Tensor:
    """What the given frames say of each other one, along views, along times, and where both meet.

    frames: [B, V, T, C, H, W]; given: [B, V, T] bool
    returns [B, V, T, 3, C, H, W], 0 where nothing is given, and for given frames
    """
    known = torch.where(given[..., None, None, None], frames, 0.0)
    B, V, T = given.shape
    views = blend_weights(given.transpose(1, 2).flatten(0, 1)).view(B, T, V, V).to(frames.dtype)
    times = blend_weights(given.flatten(0, 1)).view(B, V, T, T).to(frames.dtype)
    along_views = torch.einsum("btvw,bwtchx->bvtchx", views, known)
    along_times = torch.einsum("bvtu,bvuchx->bvtchx", times, known)
    meeting = torch.einsum("btvw,bvtu,bwuchx->bvtchx", views, times, known)
    found = torch.stack([along_views, along_times, meeting], dim=3)
    return torch.where(given[..., None, None, None, None], 0.0, found)


class ReferenceEmbedding(nn.Module):
    """Patches of references to tokens; zero at initialisation, so that a new model is as it is without."""

    def __init__(self, references: int, channels: int, patch_size: int, hidden_dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = nn.Linear(references * channels * patch_size**2, hidden_dim, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, references: Tensor) -> Tensor:
        """[..., R, C, H, W] to [..., L, D]."""
        size = self.patch_size
        patches = rearrange(references, "... k c (h p) (w q) -> ... (h w) (k c p q)", p=size, q=size)
        embedded: Tensor = self.linear(patches)
        return embedded
