"""The plain-torch engine: one process, one device, nothing hidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fourreal.platform.errors import UserError
from fourreal.training.checkpoint.snapshots import copied
from fourreal.training.engine.base import StepNorms, check_compiler, trained_parameters
from fourreal.training.engine.optimizer import EMA, MeasuredAdamW
from fourreal.training.settings.groups import EngineSettings, OptimizerSettings

_FILE = "engine.pt"


class TorchEngine:
    """AdamW on the parameters that train (see `Engine`)."""

    def __init__(
        self, model: nn.Module, device: torch.device, optimizer: OptimizerSettings, settings: EngineSettings
    ) -> None:
        check_compiler(settings)
        self.model = model.to(device)
        self._device, self._bf16 = device, settings.computes_in_bf16(device.type)
        self._parameters = trained_parameters(model)
        self._optimizer = MeasuredAdamW(self._parameters, optimizer, device)
        self._clip_norm = optimizer.clip_norm or math.inf
        compiled = settings.compile != "none"
        self._call: Callable[..., Any] = torch.compile(model, backend=settings.compile) if compiled else model

    def forward(self, *inputs: Any) -> Tensor:
        """See `Engine`."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            prediction: Tensor = self._call(*inputs)
        return prediction.float()

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, learning_rate: float, norm_limit: float = math.inf) -> StepNorms:
        """See `Engine`."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm))
        self._optimizer.is_allowed = lambda: norm < norm_limit
        self._optimizer.step()
        self._optimizer.zero_grad()
        return StepNorms(norm, float(self._optimizer.update_norm()))

    def snapshot(self) -> dict[str, Any]:
        """See `Engine`."""
        return {_FILE: copied({"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()})}

    def load(self, folder: Path, *, saved_by: int, shared: bool) -> None:
        """See `Engine`."""
        try:
            state = torch.load(folder / _FILE, weights_only=True)
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
        except Exception as error:  # whatever a file of another making raises
            raise UserError(
                f"{folder / _FILE} does not hold this model ({type(error).__name__}): delete its folder, and the "
                "checkpoint before it is taken"
            ) from error

    def weights(self, *, averaged: bool = False) -> dict[str, Tensor]:
        """See `Engine`."""
        weights = {name: tensor.detach().cpu() for name, tensor in self.model.state_dict().items()}
        if averaged:
            for name, parameter in self.model.named_parameters():
                state = self._optimizer.state.get(parameter, {})
                weights[name] = state[EMA].cpu() if EMA in state else weights[name]
        return weights
