"""Synchronization of the view stream and the time stream after a layer (4Real-Video section 2; METHOD section 2).

Shape legend: tokens of a stream [B, V, T, L, D]; time condition [B, V, T, D], an embedding of each frame's
diffusion time s.

Modulation by s: the input numbers of a linear map are scaled by `1 + m(s)`, with m zero at initialisation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class HardSync(nn.Module):
    """x = W^v(s) y^v + W^t(s) y^t for both streams; W^v = W^t = I / 2 at initialisation."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.view = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.time = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.modulation = nn.Linear(hidden_dim, 2 * hidden_dim)
        for linear in (self.view, self.time):
            nn.init.eye_(linear.weight)
            with torch.no_grad():
                linear.weight.mul_(0.5)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, view_tokens: Tensor, time_tokens: Tensor, time_condition: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams [B, V, T, L, D] to their common successor, twice."""
        scale_view, scale_time = self.modulation(functional.silu(time_condition))[..., None, :].chunk(2, dim=-1)
        joint = self.view(view_tokens * (1 + scale_view)) + self.time(time_tokens * (1 + scale_time))
        return joint, joint


class SoftSync(nn.Module):
    """x^v = y^v + d^v, x^t = y^t + d^t; (d^v, d^t): one modulated linear map of (y^v, y^t), zero at initialisation."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.exchange = nn.Linear(2 * hidden_dim, 2 * hidden_dim)
        self.modulation = nn.Linear(hidden_dim, 2 * hidden_dim)
        for linear in (self.exchange, self.modulation):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, view_tokens: Tensor, time_tokens: Tensor, time_condition: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams [B, V, T, L, D] to their successors."""
        scale = self.modulation(functional.silu(time_condition))[..., None, :]
        both = torch.cat([view_tokens, time_tokens], dim=-1)
        view_step, time_step = self.exchange(both * (1 + scale)).chunk(2, dim=-1)
        return view_tokens + view_step, time_tokens + time_step
