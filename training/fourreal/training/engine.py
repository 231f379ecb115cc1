"""What the training loop needs of an engine, and nothing more.

There are two: `DeepSpeedEngine` for any number of workers, and `TorchEngine`, its plain twin on one device. On the
CPU in fp32 both compute the same steps.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

GRADIENT_CLIP = 1.0
"""Largest global gradient norm of a step; longer gradients are scaled down to it."""

BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01


class Engine(Protocol):
    """A model with its optimizer, on this worker's device."""

    @property
    def model(self) -> nn.Module:
        """The module to call in the forward pass."""

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a scalar loss."""

    def step(self, learning_rate: float, norm_limit: float = math.inf) -> float:
        """Take one clipped optimizer step and clear the gradients; returns their global norm before clipping.

        Unless that norm is below `norm_limit` (a NaN never is), weights and optimizer state stay as they are.
        """

    def snapshot(self) -> dict[str, Any]:
        """This worker's part of weights and optimizer state: what `torch.save` is to write, by file name.

        It is a copy on the CPU, which later steps do not change. All workers call it.
        """

    def load(self, folder: Path, *, saved_by: int, shared: bool) -> None:
        """Restore what `snapshot` gave on `saved_by` workers, of any number. All workers call it.

        `shared`: whether all workers were given the same folder, not each its own copy.
        """

    def weights(self) -> dict[str, Tensor]:
        """The whole model's state dict on the CPU. All workers call it; complete on rank 0."""


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that train; frozen ones get no optimizer state."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
