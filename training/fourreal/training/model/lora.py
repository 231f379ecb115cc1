"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685) of linear maps, put in and merged in place.

Shape legend: I numbers in, O numbers out, R rank.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional


class LoraLinear(nn.Linear):
    """`W x + b + up(down(x))`, with `up` zero at the start; W and b keep their names, so weights load either way."""

    def __init__(self, inputs: int, outputs: int, *, rank: int, bias: bool, like: Tensor) -> None:
        super().__init__(inputs, outputs, bias=bias, device="meta", dtype=like.dtype)
        self.down = nn.Parameter(torch.empty(rank, inputs, device=like.device, dtype=like.dtype))
        self.up = nn.Parameter(torch.zeros(outputs, rank, device=like.device, dtype=like.dtype))
        nn.init.normal_(self.down, std=inputs**-0.5)

    @classmethod
    def around(cls, linear: nn.Linear, rank: int) -> Self:
        """A linear map with its own weights and a low-rank map beside them."""
        bias = linear.bias is not None
        lora = cls(linear.in_features, linear.out_features, rank=rank, bias=bias, like=linear.weight)
        lora.weight, lora.bias = linear.weight, linear.bias
        return lora

    def forward(self, input: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        return super().forward(input) + functional.linear(functional.linear(input, self.down), self.up)

    def merged(self) -> nn.Linear:
        """One linear map that does the same."""
        linear = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        linear.weight = nn.Parameter((self.weight + self.up @ self.down).detach())
        linear.bias = self.bias
        return linear


def add_lora(modules: list[nn.Module], rank: int) -> list[nn.Parameter]:
    """Put a low-rank map beside every `nn.Linear` inside the modules; returns the new parameters. Once only."""
    added = []
    for parent, name, linear in _linears(modules):
        lora = linear if isinstance(linear, LoraLinear) else LoraLinear.around(linear, rank)
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
