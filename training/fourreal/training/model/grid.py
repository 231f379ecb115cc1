"""A view-time grid as sequences.

Shape legend: B grids, V views, T times, L patches of a frame, D trunk width, K modulation numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from fourreal.training.model.backbones.base import FIXED_VIEW, FREEZE_TIME, Backbone, Sequences, Text

Axis = Literal["view", "time"]


def to_sequences(grid: Tensor, axis: Axis) -> Tensor:
    """[B, V, T, ...] as the freeze-time sequences [B*T, V, ...] or the fixed-view sequences [B*V, T, ...]."""
    pattern = "b v t ... -> (b t) v ..." if axis == "view" else "b v t ... -> (b v) t ..."
    sequences: Tensor = rearrange(grid, pattern)
    return sequences


def to_grid(sequences: Tensor, axis: Axis, batch: int) -> Tensor:
    """The inverse of `to_sequences`, for anything that lies per frame."""
    pattern = "(b t) v ... -> b v t ..." if axis == "view" else "(b v) t ... -> b v t ..."
    grid: Tensor = rearrange(sequences, pattern, b=batch)
    return grid


@dataclass(frozen=True)
class GridInput:
    """A batch of grids, embedded, and what conditions them.

    tokens: [B, V, T, L, D]; time: [B] or [B, V, T]; given: [B, V, T] bool; text: as the layers read it
    """

    backbone: Backbone
    tokens: Tensor
    time: Tensor
    given: Tensor
    text: Text | None
    patch_grid: tuple[int, int]

    @property
    def length(self) -> dict[Axis, int]:
        """V and T."""
        return {"view": self.given.shape[1], "time": self.given.shape[2]}

    def sync_condition(self) -> Tensor:
        """Each frame's embedded diffusion time, [B, V, T, D]."""
        return self.backbone.time_embedding(self.time, self.given)

    def along(self, axis: Axis) -> Sequences:
        """What the layers read when they run along an axis: T freeze-time or V fixed-view sequences of each grid."""
        context = self.backbone.context_embedding.weight[FREEZE_TIME if axis == "view" else FIXED_VIEW]
        given = to_sequences(self.given, axis)
        # One row for each sequence, as the base model has it: the last bits of a product depend on its rows.
        each = self.length["time" if axis == "view" else "view"]
        time = self.time.repeat_interleave(each) if self.time.ndim == 1 else to_sequences(self.time, axis)
        condition = self.backbone.condition(time, given, context)
        return Sequences(condition, self._rotary(self._arange(self.length[axis])), self.text, self.patch_grid)

    def as_one(self, times_apart: int) -> Sequences:
        """What the layers read when a grid is one sequence of V*T frames: frame (v, t) at `v * times_apart + t`.

        The context is the mean of both: each frame is part of a freeze-time and of a fixed-view video.
        """
        context = self.backbone.context_embedding.weight.mean(dim=0)
        condition = self.backbone.condition(self.time, self.given, context).flatten(1, 2)
        views, times = self._arange(self.length["view"]), self._arange(self.length["time"])
        positions = (views[:, None] * times_apart + times).flatten()
        return Sequences(condition, self._rotary(positions), self.text, self.patch_grid)

    def _arange(self, length: int) -> Tensor:
        return torch.arange(length, device=self.tokens.device)

    def _rotary(self, positions: Tensor) -> Tensor:
        return self.backbone.rotary(positions, self.patch_grid)
