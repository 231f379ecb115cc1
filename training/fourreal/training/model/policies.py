"""What trains, by name.

sync-only       what the architecture adds to the backbone (4Real-Video); not for architectures that add nothing
self-attention  that, and the self-attention of every layer (4Real-Video-V2)
lora            that, and a low-rank map beside each projection of the self-attention, merged on export
full            everything

The context embedding trains with self-attention, lora and full: on pretrained backbones it is new, and zero.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from fourreal.training.model.architectures import Architecture
from fourreal.training.model.backbones.base import Backbone
from fourreal.training.model.lora import LoraShape, add_lora

TrainPolicy = Literal["sync-only", "self-attention", "lora", "full"]

_ADDING_NOTHING: tuple[Architecture, ...] = ("sequential", "fused")


def check_policy(policy: str, architecture: str) -> None:
    """ValueError, in one sentence, for an unknown policy or one that leaves an architecture nothing to train."""
    if policy not in get_args(TrainPolicy):
        raise ValueError(f"training policy {policy!r} is unknown; choose one of {', '.join(get_args(TrainPolicy))}")
    if policy == "sync-only" and architecture in _ADDING_NOTHING:
        raise ValueError(
            f"the {architecture} architecture adds no parameters to its backbone, so sync-only leaves nothing to "
            f"train; choose self-attention, lora or full"
        )


def apply_policy(policy: TrainPolicy, backbone: Backbone, added: nn.Module, lora: LoraShape) -> None:
    """Mark what trains (`requires_grad`); `added` is what the architecture adds. Changes the backbone for `lora`."""
    backbone.requires_grad_(policy == "full")
    added.requires_grad_(True)
    if policy in ("self-attention", "lora"):
        backbone.context_embedding.requires_grad_(True)
    if policy == "self-attention":
        for attention in backbone.self_attentions():
            attention.requires_grad_(True)
    if policy == "lora":
        for parameter in add_lora(backbone.self_attentions(), lora):
            parameter.requires_grad_(True)
