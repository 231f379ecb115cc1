"""The plain-torch engine: one process, one device, nothing hidden."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fourreal.training.engine import BETAS, GRADIENT_CLIP, WEIGHT_DECAY, trained_parameters
from fourreal.training.snapshots import copied

_FILE = "engine.pt"


class TorchEngine:
    """AdamW on the parameters that train (see `Engine`)."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model.to(device)
        self._parameters = trained_parameters(model)
        self._optimizer = torch.optim.AdamW(self._parameters, betas=BETAS, weight_decay=WEIGHT_DECAY)

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, learning_rate: float, norm_limit: float = math.inf) -> float:
        """See `Engine`."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, GRADIENT_CLIP))
        if norm < norm_limit:
            self._optimizer.step()
        self._optimizer.zero_grad()
        return norm

    def snapshot(self) -> dict[str, Any]:
        """See `Engine`."""
        return {_FILE: copied({"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()})}

    def load(self, folder: Path, *, saved_by: int, shared: bool) -> None:
        """See `Engine`."""
        state = torch.load(folder / _FILE, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def weights(self) -> dict[str, Tensor]:
        """See `Engine`."""
        return {name: tensor.detach().cpu() for name, tensor in self.model.state_dict().items()}
