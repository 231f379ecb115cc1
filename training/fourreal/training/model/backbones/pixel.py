"""Pixel-space video diffusion transformer over one sequence of frames (4Real-Video section 2, "base video model").

Shape legend: as in `base.py`; C H W are pixels, K = D.

Given frames carry a flag in their tokens besides their diffusion time of 0. Any subset of the frames may be given,
which is the paper's random frame masking.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from fourreal.training.model.backbones.base import Attend, Backbone, Sequences, Text, attend_all
from fourreal.training.model.backbones.pixel_config import PixelConfig
from fourreal.training.model.backbones.rotary import rotary_table, rotate_halves
from fourreal.training.model.references import OF_VIDEO, ReferenceEmbedding, video_references
from fourreal.training.model.refinement import Refinement

_TIME_FREQUENCIES = 64


class TimeEmbedding(nn.Module):
    """Diffusion times [...] to vectors [..., D]: sinusoids, then two linear layers."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * _TIME_FREQUENCIES, hidden_dim), nn.SiLU(), nn.Linear(hidden_dim, hidden_dim)
        )

    def forward(self, time: Tensor) -> Tensor:
        """[...] to [..., D]."""
        # Times lie in [0, 1]: wavelengths from 4 down to 1/64 tell any two sampling steps apart. No buffer, which a
        # model in bfloat16 would round.
        octaves = torch.linspace(-2, 6, _TIME_FREQUENCIES, device=time.device)
        angles = time[..., None] * (2 * math.pi * 2**octaves)
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        embedded: Tensor = self.mlp(waves.to(next(self.mlp.parameters()).dtype))
        return embedded


class HeadNorm(nn.RMSNorm):
    """RMSNorm in the precision of what it norms: a GPU has no fused kernel for bfloat16 and a weight in float32."""

    def forward(self, heads: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return functional.rms_norm(heads, self.normalized_shape, self.weight.to(heads.dtype), self.eps)


class Attention(nn.Module):
    """Self-attention over all tokens of a sequence, with normalised queries and keys."""

    def __init__(self, hidden_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.query_norm = HeadNorm(hidden_dim // heads)
        self.key_norm = HeadNorm(hidden_dim // heads)
        self.out = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, tokens: Tensor, rotary: Tensor, attend: Attend) -> Tensor:
        """Tokens [S, N*L, D] to [S, N*L, D]."""
        query, key, value = rearrange(self.qkv(tokens), "b s (three h d) -> three b s h d", three=3, h=self.heads)
        query = rotate_halves(self.query_norm(query), rotary)
        key = rotate_halves(self.key_norm(key), rotary)
        mixed = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        out: Tensor = self.out(rearrange(mixed, "b h s d -> b s (h d)"))
        return out


class Layer(nn.Module):
    """One transformer layer phi_l with its residuals, modulated per frame (adaLN-zero, Peebles and Xie 2023)."""

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.attention_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.attention = Attention(dim, config.heads)
        self.mlp_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))
        self.modulation = _zero_linear(dim, 6 * dim)

    def forward(self, tokens: Tensor, sequences: Sequences, attend: Attend) -> Tensor:
        """Tokens [S, N, L, D] to tokens [S, N, L, D]."""
        frames = tokens.shape[1]
        parts = self.modulation(functional.silu(sequences.condition))[:, :, None].chunk(6, dim=-1)
        shift_attention, scale_attention, gate_attention, shift_mlp, scale_mlp, gate_mlp = parts
        inner = self.attention_norm(tokens) * (1 + scale_attention) + shift_attention
        mixed = self.attention(inner.flatten(1, 2), sequences.rotary, attend).unflatten(1, (frames, -1))
        tokens = tokens + gate_attention * mixed
        inner = self.mlp_norm(tokens) * (1 + scale_mlp) + shift_mlp
        result: Tensor = tokens + gate_mlp * self.mlp(inner)
        return result


class PixelBackbone(Backbone):
    """The base video model of 4Real-Video. It reads no text."""

    name = "pixel"
    config: PixelConfig

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        self.config = config
        self.hidden_dim, self.depth = config.hidden_dim, config.depth
        self.channels = config.channels + config.condition_channels
        dim = config.hidden_dim
        patch_numbers = config.channels * config.patch_size**2
        self.patch_embedding = nn.Linear(self.channels * config.patch_size**2, dim)
        self.given_embedding = nn.Embedding(2, dim)
        self.context_embedding = nn.Embedding(2, dim)
        self.time_mlp = TimeEmbedding(dim)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.head_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.head_modulation = _zero_linear(dim, 2 * dim)
        self.head_linear = _zero_linear(dim, patch_numbers)
        self.references: ReferenceEmbedding | None = None
        self.refinement: Refinement | None = None
        if config.references:
            self.references = ReferenceEmbedding(OF_VIDEO, config.channels, config.patch_size, dim)
        if config.refinement:
            self.refinement = Refinement(OF_VIDEO, config.channels, config.refinement)
        nn.init.normal_(self.given_embedding.weight, std=0.02)
        nn.init.normal_(self.context_embedding.weight, std=0.02)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """See `Backbone`."""
        return cls(PixelConfig.from_dict(config))

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """See `Backbone`. This one has frames of one size only."""
        config = self.config
        if (height, width) != (config.height, config.width):
            raise ValueError(
                f"frames are {height}x{width} pixels, the model's are {config.height}x{config.width}; resize them"
            )
        return config.patch_grid

    def embed(self, frames: Tensor, given: Tensor) -> Tensor:
        """See `Backbone`."""
        size = self.config.patch_size
        patches = rearrange(frames, "... c (h p) (w q) -> ... (h w) (c p q)", p=size, q=size)
        tokens: Tensor = self.patch_embedding(patches) + self.given_embedding(given.long())[..., None, :]
        return tokens

    def embed_video(self, noisy: Tensor, given: Tensor) -> Tensor:
        """See `Backbone`."""
        tokens = self.embed(noisy, given)
        return tokens if self.references is None else tokens + self.references(video_references(noisy, given))

    def refine_video(self, predicted: Tensor, noisy: Tensor, time: Tensor, given: Tensor) -> Tensor:
        """See `Backbone`."""
        if self.refinement is None:
            return predicted
        refined: Tensor = self.refinement(predicted, noisy, time, video_references(noisy, given), given)
        return refined

    def embed_time(self, time: Tensor) -> Tensor:
        """See `Backbone`."""
        embedded: Tensor = self.time_mlp(time)
        return embedded

    def modulation(self, embedded: Tensor) -> Tensor:
        """See `Backbone`; each layer has a map of its own to its shifts, scales and gates."""
        return embedded

    def embed_text(self, text: Text | None) -> Text | None:
        """See `Backbone`."""
        if text is not None:
            raise ValueError("the pixel backbone reads no text; leave the text out, or use a backbone that does")
        return None

    def rotary(self, frames: Tensor, patch_grid: tuple[int, int]) -> Tensor:
        """See `Backbone`."""
        return rotary_table(frames, patch_grid, self.config.head_dim)

    def run_layer(self, index: int, tokens: Tensor, sequences: Sequences, attend: Attend = attend_all) -> Tensor:
        """See `Backbone`."""
        result: Tensor = self.layers[index](tokens, sequences, attend)
        return result

    def head(self, tokens: Tensor, sequences: Sequences) -> Tensor:
        """See `Backbone`."""
        modulation = self.head_modulation(functional.silu(sequences.condition))
        shift, scale = modulation[..., None, :].chunk(2, dim=-1)
        patches = self.head_linear(self.head_norm(tokens) * (1 + scale) + shift)
        size, (rows, _) = self.config.patch_size, sequences.patch_grid
        frames: Tensor = rearrange(patches, "... (h w) (c p q) -> ... c (h p) (w q)", h=rows, p=size, q=size)
        return frames

    def self_attentions(self) -> list[nn.Module]:
        """See `Backbone`."""
        return [layer.get_submodule("attention") for layer in self.layers]


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
