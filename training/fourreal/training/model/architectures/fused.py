"""One stream, attention along both axes at once (4Real-Video-V2, arXiv 2506.18839; METHOD section 3).

A token attends to the tokens of the same view or of the same time. Nothing is added to the backbone: the frame (v, t)
takes the place `v * TIMES_APART + t` of a video.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fourreal.training.model.architectures.base import ViewTime
from fourreal.training.model.architectures.view_time_attention import ViewTimeAttention
from fourreal.training.model.grid import GridInput

# The paper's T_max. Fixed, so that a view keeps its place when there are more times than in training.
TIMES_APART = 32


class Fused(ViewTime):
    """Masked self-attention over the whole grid. ValueError for more than `TIMES_APART` times."""

    def forward(self, grid: GridInput) -> list[Tensor]:
        """See `ViewTime`."""
        views, times = grid.length["view"], grid.length["time"]
        if times > TIMES_APART:
            raise ValueError(f"the grid has {times} times, the fused architecture has room for {TIMES_APART}; cut it")
        sequences = grid.as_one(TIMES_APART)
        attend = ViewTimeAttention(views, times)

        def layer(index: int, tokens: Tensor) -> Tensor:
            return grid.backbone.run_layer(index, tokens, sequences, attend)

        tokens = grid.tokens.flatten(1, 2)
        for index in range(grid.backbone.depth):
            tokens = self.step(layer, index, tokens)
        return [torch.unflatten(grid.backbone.head(tokens, sequences), 1, (views, times))]
