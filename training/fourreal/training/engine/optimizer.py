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

    def __init__(self, parameters: list[nn.Parameter], settings: OptimizerSettings, device: torch.device) -> None:
        super().__init__(
            parameters,
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=device.type == "cpu" or None,  # torch's own choice there goes from tensor to tensor
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
        if self.ema_decay:
            self._average(trained, before)
        torch._foreach_sub_(before, trained)
        self._update_norms += torch._foreach_norm(before)
        return result

    def update_norm(self) -> Tensor:
        """Norm of the change since the last call, over the weights that this worker's optimizer holds; a scalar."""
        norms, self._update_norms = self._update_norms, []
        return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())

    def _average(self, trained: list[Tensor], before: list[Tensor]) -> None:
        states = [self.state[parameter] for parameter in trained]
        for state, old in zip(states, before, strict=True):
            if EMA not in state:
                state[EMA] = old.clone()
        taken = [float(state["step"]) for state in states]
        weights = [1 - min(self.ema_decay, (1 + n) / (10 + n)) for n in taken]
        for weight in set(weights):  # one, but where some weights had no gradient in some steps
            mine = [n for n, other in enumerate(weights) if other == weight]
            torch._foreach_lerp_([states[n][EMA] for n in mine], [trained[n] for n in mine], weight)


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
