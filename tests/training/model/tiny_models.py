"""Tiny models whose zero-initialised parts are not zero, so that equalities say something, and inputs for them."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from fourreal.training.model import FIXED_VIEW, FREEZE_TIME, Backbone, GridModel, Text, border_given, make_backbone

ARCHITECTURES = ("sequential", "hard", "soft", "fused")
TEXT_WIDTH = 16

CONFIGS: dict[str, dict[str, Any]] = {
    "pixel": {"height": 8, "width": 12, "patch_size": 4, "hidden_dim": 32, "depth": 2, "heads": 2},
    "wan": {
        "transformer": {
            "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "out_channels": 4, "num_layers": 2,
            "text_dim": TEXT_WIDTH, "freq_dim": 16, "ffn_dim": 32, "rope_max_seq_len": 256,
        }
    },
    "ltx": {
        "transformer": {
            "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "out_channels": 4, "num_layers": 2,
            "cross_attention_dim": 48, "caption_channels": TEXT_WIDTH,
        }
    },
}  # fmt: skip
FRAME = {"pixel": (3, 8, 12), "wan": (4, 4, 6), "ltx": (4, 2, 3)}


def enliven(model: nn.Module, seed: int = 0) -> None:
    """Random numbers for every parameter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def lively(name: str = "pixel", seed: int = 0) -> Backbone:
    backbone = make_backbone(name, CONFIGS[name])
    enliven(backbone, seed)
    return backbone.eval()


def lively_grid_model(architecture: str, name: str = "pixel", **changes: int) -> GridModel:
    backbone = make_backbone(name, {**CONFIGS[name], **changes})
    model = GridModel(backbone, architecture)
    enliven(model)
    return model.eval()


def grid_input(views: int, times: int, name: str = "pixel", batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy frames, diffusion times and the border given."""
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(batch, views, times, *FRAME[name], generator=generator)
    return noisy, torch.rand(batch, generator=generator), border_given(views, times).expand(batch, -1, -1)


def captions(name: str, batch: int = 2) -> Text | None:
    if name == "pixel":
        return None
    generator = torch.Generator().manual_seed(2)
    mask = None if name == "wan" else torch.arange(5) < torch.tensor([[3], [5]]).expand(-1, 5)[:batch]
    return Text(torch.randn(batch, 5, TEXT_WIDTH, generator=generator), mask)


def repeated(text: Text | None, times: int) -> Text | None:
    if text is None:
        return None
    mask = None if text.mask is None else text.mask.repeat_interleave(times, 0)
    return Text(text.embeddings.repeat_interleave(times, 0), mask)


def base_along_view(backbone: Backbone, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None = None) -> Tensor:
    """The base model on every freeze-time sequence of a grid."""
    times = noisy.shape[2]
    out = backbone(
        rearrange(noisy, "b v t c h w -> (b t) v c h w"),
        time.repeat_interleave(times),
        rearrange(given, "b v t -> (b t) v"),
        torch.full((len(noisy) * times,), FREEZE_TIME),
        repeated(text, times),
    )
    return rearrange(out, "(b t) v c h w -> b v t c h w", t=times)


def base_along_time(backbone: Backbone, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None = None) -> Tensor:
    """The base model on every fixed-view sequence of a grid."""
    views = noisy.shape[1]
    out = backbone(
        rearrange(noisy, "b v t c h w -> (b v) t c h w"),
        time.repeat_interleave(views),
        rearrange(given, "b v t -> (b v) t"),
        torch.full((len(noisy) * views,), FIXED_VIEW),
        repeated(text, views),
    )
    return rearrange(out, "(b v) t c h w -> b v t c h w", v=views)
