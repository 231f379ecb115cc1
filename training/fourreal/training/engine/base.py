"""What the training loop needs of an engine, and nothing more.

There are two: `DeepSpeedEngine` for any number of workers, and `TorchEngine`, its plain twin on one device. On the
CPU in fp32 both compute the same steps. Weights that train and the optimizer are fp32 in both; with bf16 they compute
in bfloat16 where that is safe (autocast).
"""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from fourreal.training.settings.groups import EngineSettings
from fourreal.training.workers.stopping import Stopped


@dataclass(frozen=True)
class StepNorms:
    """Global norms of a step."""

    gradient: float
    """Before clipping."""
    update: float
    """Of the change of the weights; 0 when the step was not taken."""


class Engine(Protocol):
    """A model with its optimizer, on this worker's device."""

    @property
    def model(self) -> nn.Module:
        """The model itself."""

    def forward(self, *inputs: Any) -> Tensor:
        """The model's prediction, in fp32."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a scalar loss. As many calls make one step as the engine has micro-batches."""

    def step(self, learning_rate: float, norm_limit: float = math.inf) -> StepNorms:
        """Take one clipped optimizer step and clear the gradients.

        Unless the gradient's norm is below `norm_limit` (a NaN never is), weights and optimizer state stay as they are.
        """

    def snapshot(self) -> dict[str, Any]:
        """This worker's part of weights and optimizer state: what `torch.save` is to write, by file name.

        It is a copy on the CPU, which later steps do not change. All workers call it.
        """

    def load(self, folder: Path, *, saved_by: int, shared: bool) -> None:
        """Restore what `snapshot` gave on `saved_by` workers, of any number. All workers call it.

        `shared`: whether all workers were given the same folder, not each its own copy.
        """

    def weights(self, *, averaged: bool = False) -> dict[str, Tensor]:
        """The whole model's state dict on the CPU. All workers call it; complete on rank 0.

        averaged: with the running mean of what trains, where the optimizer keeps one.
        """


def check_compiler(settings: EngineSettings) -> None:
    """Stopped where the model is to be compiled and there is nothing to compile with; torch says so with a trace."""
    compiler = os.environ.get("CXX", "g++")
    if settings.compile == "inductor" and shutil.which(compiler) is None:
        raise Stopped(f"--engine.compile inductor needs a C++ compiler, and there is no {compiler} here: install one")


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that train; frozen ones get no optimizer state."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
