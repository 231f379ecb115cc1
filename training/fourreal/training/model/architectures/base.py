"""What a view-time architecture is: a way to run a backbone's layers on a grid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from fourreal.training.model.backbones.base import Tokens, run_step
from fourreal.training.model.grid import GridInput


class ViewTime(nn.Module, ABC):
    """An architecture. It holds the parameters that it adds to the backbone, and not the backbone.

    With `checkpointing`, the activations inside a step are computed again for the gradient instead of being kept.
    """

    checkpointing: bool = False

    @abstractmethod
    def forward(self, grid: GridInput) -> list[Tensor]:
        """Predictions [B, V, T, C, H, W] of a grid with V > 1 and T > 1, one for each stream."""

    def step(self, layer: Callable[..., Tokens], index: int, *tokens: Tensor) -> Tokens:
        """One layer, `layer(index, *tokens)`."""
        return run_step(layer, index, *tokens, checkpointing=self.checkpointing)
