"""Pixel-space video diffusion transformer over one sequence of frames (4Real-Video section 2, "base video model").

Shape legend: B sequences, N frames of a sequence (views of a freeze-time or times of a fixed-view one),
C H W pixels, L patches of a frame, D trunk width.

A frame is either *given* (clean, diffusion time 0, flag "given") or *unknown* (noisy, diffusion time s). Any subset
of the frames may be given, which is the paper's random frame masking. A layer is called as
`layer(tokens, condition, rotary)`, with everything per frame in `condition`, so that a grid model can run the same
layers on the sequences along either axis.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from fourreal.training.model.config import ModelConfig
from fourreal.training.model.rotary import rotary_table, rotate

FIXED_VIEW = 0
FREEZE_TIME = 1

_TIME_FREQUENCIES = 64


class TimeEmbedding(nn.Module):
    """Diffusion times [...] to vectors [..., D]: sinusoids, then two linear layers."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        # Times lie in [0, 1]: wavelengths from 4 down to 1/64 tell any two sampling steps apart.
        octaves = torch.linspace(-2, 6, _TIME_FREQUENCIES)
        self.register_buffer("frequencies", 2 * math.pi * 2**octaves, persistent=False)
        self.mlp = nn.Sequential(
            nn.Linear(2 * _TIME_FREQUENCIES, hidden_dim), nn.SiLU(), nn.Linear(hidden_dim, hidden_dim)
        )

    def forward(self, time: Tensor) -> Tensor:
        """[...] to [..., D]."""
        angles = time[..., None] * self.get_buffer("frequencies")
        embedded: Tensor = self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))
        return embedded


class Attention(nn.Module):
    """Self-attention over all tokens of a sequence, with normalised queries and keys."""

    def __init__(self, hidden_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.query_norm = nn.RMSNorm(hidden_dim // heads)
        self.key_norm = nn.RMSNorm(hidden_dim // heads)
        self.out = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, tokens: Tensor, rotary: Tensor) -> Tensor:
        """Tokens [B, N*L, D] to [B, N*L, D]."""
        query, key, value = rearrange(self.qkv(tokens), "b s (three h d) -> three b h s d", three=3, h=self.heads)
        query = rotate(self.query_norm(query), rotary)
        key = rotate(self.key_norm(key), rotary)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(rearrange(mixed, "b h s d -> b s (h d)"))
        return out


class Layer(nn.Module):
    """One transformer layer phi_l with its residuals, modulated per frame (adaLN-zero, Peebles and Xie 2023)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.attention_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.attention = Attention(dim, config.heads)
        self.mlp_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))
        self.modulation = _zero_linear(dim, 6 * dim)

    def forward(self, tokens: Tensor, condition: Tensor, rotary: Tensor) -> Tensor:
        """Tokens [B, N, L, D] and per-frame condition [B, N, D] to tokens [B, N, L, D]."""
        frames = tokens.shape[1]
        parts = self.modulation(functional.silu(condition))[:, :, None].chunk(6, dim=-1)
        shift_attention, scale_attention, gate_attention, shift_mlp, scale_mlp, gate_mlp = parts
        inner = self.attention_norm(tokens) * (1 + scale_attention) + shift_attention
        mixed = self.attention(inner.flatten(1, 2), rotary).unflatten(1, (frames, -1))
        tokens = tokens + gate_attention * mixed
        inner = self.mlp_norm(tokens) * (1 + scale_mlp) + shift_mlp
        result: Tensor = tokens + gate_mlp * self.mlp(inner)
        return result


class Backbone(nn.Module):
    """The base video model."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.hidden_dim
        patch_numbers = config.channels * config.patch_size**2
        self.patch_embedding = nn.Linear(patch_numbers, dim)
        self.given_embedding = nn.Embedding(2, dim)
        self.context_embedding = nn.Embedding(2, dim)
        self.time_embedding = TimeEmbedding(dim)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.head_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.head_modulation = _zero_linear(dim, 2 * dim)
        self.head_linear = _zero_linear(dim, patch_numbers)
        nn.init.normal_(self.given_embedding.weight, std=0.02)
        nn.init.normal_(self.context_embedding.weight, std=0.02)

    def rotary(self, frames: int) -> Tensor:
        """Rotary table for a sequence of that many frames."""
        table = rotary_table(frames, self.config.patch_grid, self.config.head_dim)
        return table.to(self.patch_embedding.weight)

    def embed(self, frames: Tensor, given: Tensor) -> Tensor:
        """Frames [..., C, H, W] and given flags [...] to tokens [..., L, D].

        Raises ValueError when the frames do not have the model's size.
        """
        config = self.config
        expected = (config.channels, config.height, config.width)
        if tuple(frames.shape[-3:]) != expected:
            raise ValueError(
                f"frames are {tuple(frames.shape[-3:])} (C, H, W), not the {expected} of the model; resize them"
            )
        size = config.patch_size
        patches = rearrange(frames, "... c (h p) (w q) -> ... (h w) (c p q)", p=size, q=size)
        tokens: Tensor = self.patch_embedding(patches) + self.given_embedding(given.long())[..., None, :]
        return tokens

    def head(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Tokens [..., L, D] and condition [..., D] to predicted frames [..., C, H, W]."""
        shift, scale = self.head_modulation(functional.silu(condition))[..., None, :].chunk(2, dim=-1)
        patches = self.head_linear(self.head_norm(tokens) * (1 + scale) + shift)
        size, (rows, _) = self.config.patch_size, self.config.patch_grid
        frames: Tensor = rearrange(patches, "... (h w) (c p q) -> ... c (h p) (w q)", h=rows, p=size, q=size)
        return frames

    def forward(self, noisy: Tensor, time: Tensor, given: Tensor, context: Tensor) -> Tensor:
        """Predict the clean frames, or their velocity (`config.prediction`).

        noisy:   [B, N, C, H, W], given frames clean, the others at their diffusion time
        time:    [B] diffusion time of the unknown frames, 1 is noise
        given:   [B, N] bool, frames that are clean
        context: [B] FIXED_VIEW or FREEZE_TIME
        returns  [B, N, C, H, W]
        """
        condition = self.time_embedding(frame_times(time, given)) + self.context_embedding(context)[:, None]
        tokens = self.embed(noisy, given)
        rotary = self.rotary(noisy.shape[1])
        for layer in self.layers:
            tokens = layer(tokens, condition, rotary)
        return self.head(tokens, condition)


def frame_times(time: Tensor, given: Tensor) -> Tensor:
    """Diffusion time of every frame: [B] and flags [B, ...] to [B, ...], 0 where given."""
    spread = time.view(-1, *(1 for _ in given.shape[1:])).expand(given.shape)
    return torch.where(given, torch.zeros_like(spread), spread)


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
