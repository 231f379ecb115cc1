"""AdamW as both engines use it, and its learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fourreal.training.settings.groups import OptimizerSettings

EMA = "ema"
"""Key of the running mean of the weights in the optimizer's state, beside Adam's own moments."""

_WARMUP_STEPS = 50


class MeasuredAdamW(torch.optim.AdamW):
    """AdamW that skips steps, measures them, and keeps a running mean of the weights.

    The mean is part of the optimizer's state: whatever shards, offloads, saves and restores that does so for the mean.
    Its decay warms up with the steps taken, min(decay, (1 + n) / (10 + n)), so that it forgets the initialisation.
    DeepSpeed gives it parts of the weights instead of parameters, and may split one step into several calls.
    """

    def __init__(self, parameters: list[nn.Parameter], settings: OptimizerSettings) -> None:
        super().__init__(
            parameters,
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )
        self.is_allowed: Callable[[], bool] = lambda: True
        self.ema_decay = settings.ema_decay
        self._update_norms: list[Tensor] = []

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step, or none where it is not allowed."""
        if not self.is_allowed():
            return None
        trained = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [parameter.detach().clone() for parameter in trained]
        result = super().step(closure)
        self._update_norms += torch._foreach_norm(torch._foreach_sub(trained, before))
        if self.ema_decay:
            for parameter, old in zip(trained, before, strict=True):
                self._average(parameter, old)
        return result

    def update_norm(self) -> Tensor:
        """Norm of the change since the last call, over the weights that this worker's optimizer holds; a scalar."""
        norms, self._update_norms = self._update_norms, []
        return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())

    def _average(self, parameter: Tensor, old: Tensor) -> None:
        state = self.state[parameter]
        taken = float(state["step"])
        state.setdefault(EMA, old).lerp_(parameter, 1 - min(self.ema_decay, (1 + taken) / (10 + taken)))


def learning_rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """Linear warm-up to the highest rate, then by the schedule down to a hundredth of it, or not at all."""
    warmup = min(_WARMUP_STEPS, steps // 10) if settings.warmup_steps is None else settings.warmup_steps
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if settings.schedule == "constant":
        return settings.lr
    left = 1 - done if settings.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return settings.lr * (0.01 + 0.99 * left)
