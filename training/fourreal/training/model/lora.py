"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685) of linear maps, put in and merged in place.

Shape legend: I numbers in, O numbers out, R rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class LoraShape:
    """Rank of the low-rank maps, and the numerator of their scale alpha / rank (default: the rank, a scale of 1)."""

    rank: int = 16
    alpha: float | None = None

    @property
    def scale(self) -> float:
        """What a low-rank map is multiplied by."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


class LoraLinear(nn.Linear):
    """`W x + b + scale up(down(x))`, `up` zero at the start; W and b keep their names, so weights load either way."""

    def __init__(self, inputs: int, outputs: int, *, shape: LoraShape, bias: bool, like: Tensor) -> None:
        super().__init__(inputs, outputs, bias=bias, device="meta", dtype=like.dtype)
        rank, self.scale = shape.rank, shape.scale
        self.down = nn.Parameter(torch.empty(rank, inputs, device=like.device, dtype=like.dtype))
        self.up = nn.Parameter(torch.zeros(outputs, rank, device=like.device, dtype=like.dtype))
        nn.init.normal_(self.down, std=inputs**-0.5)

    @classmethod
    def around(cls, linear: nn.Linear, shape: LoraShape) -> Self:
        """A linear map with its own weights and a low-rank map beside them."""
        bias = linear.bias is not None
        lora = cls(linear.in_features, linear.out_features, shape=shape, bias=bias, like=linear.weight)
        lora.weight, lora.bias = linear.weight, linear.bias
        return lora

    def forward(self, input: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        return super().forward(input) + self.scale * functional.linear(functional.linear(input, self.down), self.up)

    def merged(self) -> nn.Linear:
        """One linear map that does the same."""
        linear = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        linear.weight = nn.Parameter((self.weight + self.scale * self.up @ self.down).detach())
        linear.bias = self.bias
        return linear


def add_lora(modules: list[nn.Module], shape: LoraShape) -> list[nn.Parameter]:
    """Put a low-rank map beside every `nn.Linear` inside the modules; returns the new parameters. Once only."""
    added = []
    for parent, name, linear in _linears(modules):
        lora = linear if isinstance(linear, LoraLinear) else LoraLinear.around(linear, shape)
        setattr(parent, name, lora)
        added += [lora.down, lora.up]
    return added


def merge_lora(model: nn.Module) -> None:
    """Make every low-rank map of a model part of the linear map beside it."""
    for parent, name, linear in _linears([model]):
        if isinstance(linear, LoraLinear):
            setattr(parent, name, linear.merged())


def _linears(modules: list[nn.Module]) -> list[tuple[nn.Module, str, nn.Linear]]:
    return [
        (parent, name, child)
        for module in modules
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
