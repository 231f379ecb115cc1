"""Two streams, coupled after every layer: `soft` and `hard` (4Real-Video section 2).

Shape legend: B grids, V views, T times, L patches of a frame, D trunk width.

The view stream runs on the T freeze-time sequences of V frames, the time stream on the V fixed-view sequences of T
frames. Between layers both are kept as [B, V, T, L, D].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fourreal.training.model.architectures.base import ViewTime
from fourreal.training.model.architectures.sync import HardSync, SoftSync
from fourreal.training.model.backbones.base import Backbone, Sequences
from fourreal.training.model.grid import GridInput, to_grid, to_sequences

_CPU_JOINED_NUMBERS = 1 << 18  # of a stream; at 2^20 two calls took 9 % less time than one


class TwoStreams(ViewTime):
    """One synchronization layer after each layer of the backbone."""

    def __init__(self, backbone: Backbone, sync: type[SoftSync] | type[HardSync]) -> None:
        super().__init__()
        self.syncs = nn.ModuleList(sync(backbone.hidden_dim) for _ in range(backbone.depth))

    def forward(self, grid: GridInput) -> list[Tensor]:
        """See `ViewTime`: the view stream's prediction, then the time stream's."""
        view, time = grid.along("view"), grid.along("time")
        # One call for both where it can be; on a CPU only while both fit the cache, or one after the other is faster.
        joins = grid.tokens.device.type != "cpu" or grid.tokens.numel() <= _CPU_JOINED_NUMBERS
        both = view.joined(time) if joins and view.condition.shape == time.condition.shape else None
        sync_condition = grid.sync_condition()
        batch = grid.tokens.shape[0]

        def layer(index: int, view_tokens: Tensor, time_tokens: Tensor) -> tuple[Tensor, Tensor]:
            along_view, along_time = to_sequences(view_tokens, "view"), to_sequences(time_tokens, "time")
            along_view, along_time = _run_both(grid.backbone, index, along_view, along_time, (view, time, both))
            outputs = to_grid(along_view, "view", batch), to_grid(along_time, "time", batch)
            result: tuple[Tensor, Tensor] = self.syncs[index](*outputs, sync_condition)
            return result

        view_tokens, time_tokens = grid.tokens, grid.tokens
        for index in range(grid.backbone.depth):
            view_tokens, time_tokens = self.step(layer, index, view_tokens, time_tokens)
        predicted_view = grid.backbone.head(to_sequences(view_tokens, "view"), view)
        predicted_time = grid.backbone.head(to_sequences(time_tokens, "time"), time)
        return [to_grid(predicted_view, "view", batch), to_grid(predicted_time, "time", batch)]


def _run_both(
    backbone: Backbone,
    index: int,
    view_tokens: Tensor,
    time_tokens: Tensor,
    sequences: tuple[Sequences, Sequences, Sequences | None],
) -> tuple[Tensor, Tensor]:
    """A layer on both streams, with `both` in one call."""
    view, time, both = sequences
    if both is not None:
        out = backbone.run_layer(index, torch.cat([view_tokens, time_tokens]), both).chunk(2)
        return out[0], out[1]
    return backbone.run_layer(index, view_tokens, view), backbone.run_layer(index, time_tokens, time)
