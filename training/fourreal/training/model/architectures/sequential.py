"""One stream, view attention and time attention in turn (the baseline of 4Real-Video and V2).

Both papers leave open how the layers alternate. Ours: the backbone's layers 0, 2, 4, ... run on the freeze-time
sequences and 1, 3, 5, ... on the fixed-view sequences, each layer once. So the stream costs what the base model costs,
and nothing is added to it. The head reads the stream as the last layer did.
"""

from __future__ import annotations

from torch import Tensor

from fourreal.training.model.architectures.base import ViewTime
from fourreal.training.model.grid import Axis, GridInput, to_grid, to_sequences


class Sequential(ViewTime):
    """Layers alternate between the axes."""

    def forward(self, grid: GridInput) -> list[Tensor]:
        """See `ViewTime`."""
        sequences = {"view": grid.along("view"), "time": grid.along("time")}
        batch = grid.tokens.shape[0]

        def layer(index: int, tokens: Tensor) -> Tensor:
            axis = _axis(index)
            output = grid.backbone.run_layer(index, to_sequences(tokens, axis), sequences[axis])
            return to_grid(output, axis, batch)

        tokens = grid.tokens
        for index in range(grid.backbone.depth):
            tokens = self.step(layer, index, tokens)
        axis = _axis(grid.backbone.depth - 1)
        return [to_grid(grid.backbone.head(to_sequences(tokens, axis), sequences[axis]), axis, batch)]


def _axis(index: int) -> Axis:
    return "view" if index % 2 == 0 else "time"
