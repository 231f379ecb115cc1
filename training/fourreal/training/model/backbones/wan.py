"""Wan 2.1 and 2.2 text-to-video transformers (Wan Team 2025, arXiv 2503.20314) on diffusers' `WanTransformer3DModel`.

Shape legend: as in `base.py`; C H W are latents of Wan's autoencoder (4x fewer times, the first frame alone, and 8x
smaller frames, 16x for 2.2 TI2V), K = 7 D: the embedded time for the head, then six modulations for the layers. Text
is what UMT5-XXL makes of a caption, [B, tokens, 4096], zero beyond its end, 512 tokens in Wan's own pipeline.

The modules and weights are diffusers'; a layer is run here, per frame instead of per token and with our `Attend`, in
diffusers' order of operations. The context embedding is new and zero at the start. Given frames are told by their
diffusion time of 0, as in Wan 2.2 TI2V.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import WanTransformer3DModel
from einops import rearrange
from torch import Tensor, nn

from fourreal.training.model.backbones.base import (
    Attend,
    Backbone,
    BackboneConfig,
    Sequences,
    Text,
    align,
    attend_all,
)
from fourreal.training.model.backbones.diffusers_parts import (
    check_class,
    check_text,
    cross_attention,
    plain,
    self_attention,
    transformer_folder,
)

_TIMESTEPS = 1000  # Wan counts diffusion time from 0 to 1000
_TIME_COMPRESSION = 4


@dataclass(frozen=True, kw_only=True)
class WanConfig(BackboneConfig):
    """`transformer`: the arguments of `WanTransformer3DModel`; what is left out has its default there (14 B)."""

    transformer: dict[str, Any] = field(default_factory=dict)


class WanBackbone(Backbone):
    """A Wan transformer as backbone. Text is required."""

    name = "wan"
    config: WanConfig

    def __init__(self, transformer: WanTransformer3DModel) -> None:
        super().__init__()
        inner = transformer.config
        if inner.patch_size[0] != 1:
            raise ValueError(f"this Wan transformer joins {inner.patch_size[0]} frames in a patch; one frame is needed")
        if inner.in_channels != inner.out_channels or inner.image_dim is not None:
            raise ValueError(
                f"this Wan transformer reads {inner.in_channels} channels and writes {inner.out_channels}: it has an "
                f"image condition of its own; use a text-to-video (T2V) or TI2V model"
            )
        self.config = WanConfig(transformer=plain(inner))
        self.transformer = transformer
        self.hidden_dim = inner.num_attention_heads * inner.attention_head_dim
        self.depth, self.channels = inner.num_layers, inner.in_channels
        self.context_embedding = nn.Embedding(2, self.hidden_dim)
        nn.init.zeros_(self.context_embedding.weight)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """See `Backbone`."""
        return cls(WanTransformer3DModel(**WanConfig.from_dict(config).transformer))

    @classmethod
    def from_pretrained(cls, source: str | Path, dtype: torch.dtype | None = None) -> Self:
        """A pretrained transformer: its diffusers folder, its pipeline's folder, or a hub id (owner/name).

        ValueError when the source is none of these, or another transformer.
        """
        where = transformer_folder(source)
        check_class(source, WanTransformer3DModel.load_config(**where).get("_class_name"), "WanTransformer3DModel")
        backbone = cls(WanTransformer3DModel.from_pretrained(**where, torch_dtype=dtype, use_safetensors=True))
        backbone.context_embedding.to(dtype)  # the transformer keeps some of its parts in float32
        align(backbone)
        return backbone

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """See `Backbone`."""
        _, p, q = self.transformer.config.patch_size
        if height % p or width % q or height < p or width < q:
            raise ValueError(
                f"latents of {height}x{width} do not split into the {p}x{q} patches of Wan; crop the frames"
            )
        return height // p, width // q

    def embed(self, frames: Tensor, given: Tensor) -> Tensor:
        """See `Backbone`."""
        patches = self.transformer.patch_embedding(rearrange(frames, "s n c h w -> s c n h w"))
        tokens: Tensor = rearrange(patches, "s d n h w -> s n (h w) d").contiguous()
        return tokens

    def embed_time(self, time: Tensor) -> Tensor:
        """See `Backbone`."""
        embedder = self.transformer.condition_embedder
        waves = embedder.timesteps_proj(time * _TIMESTEPS).to(embedder.time_embedder.linear_1.weight.dtype)
        embedded: Tensor = embedder.time_embedder(waves).to(self.transformer.patch_embedding.weight.dtype)
        return embedded

    def modulation(self, embedded: Tensor) -> Tensor:
        """See `Backbone`."""
        embedder = self.transformer.condition_embedder
        return torch.cat([embedded, embedder.time_proj(embedder.act_fn(embedded))], dim=-1)

    def embed_text(self, text: Text | None) -> Text | None:
        """See `Backbone`."""
        text = check_text(text, self.transformer.config.text_dim, "Wan", "UMT5")
        return Text(self.transformer.condition_embedder.text_embedder(text.embeddings), text.mask)

    def rotary(self, frames: Tensor, patch_grid: tuple[int, int]) -> Tensor:
        """See `Backbone`."""
        rope = self.transformer.rope
        longest = max(frames.shape[0], *patch_grid)
        if longest > rope.max_seq_len:
            raise ValueError(
                f"{longest} positions along an axis are more than the {rope.max_seq_len} of this Wan model"
            )
        height, width = patch_grid
        tables = []
        for table, first in ((rope.freqs_cos, 0), (rope.freqs_sin, 1)):
            # diffusers writes each angle twice, once for each number of a pair.
            t, y, x = (part[:, first::2] for part in table.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1))
            size = (frames.shape[0], height, width, -1)
            parts = (t[frames][:, None, None], y[:height][None, :, None], x[:width][None, None])
            tables.append(torch.cat([part.expand(size) for part in parts], dim=-1).flatten(0, 2))
        return torch.stack(tables)[:, :, None]

    def run_layer(self, index: int, tokens: Tensor, sequences: Sequences, attend: Attend = attend_all) -> Tensor:
        """See `Backbone`."""
        assert sequences.text is not None
        block = self.transformer.blocks[index]
        modulation = torch.unflatten(sequences.condition[..., self.hidden_dim :], -1, (6, -1)).float()
        parts = (block.scale_shift_table[:, None] + modulation).chunk(6, dim=2)
        shift_attention, scale_attention, gate_attention, shift_mlp, scale_mlp, gate_mlp = parts

        inner = (block.norm1(tokens.float()) * (1 + scale_attention) + shift_attention).type_as(tokens)
        mixed = self_attention(block.attn1, inner.flatten(1, 2), sequences.rotary, attend).view_as(tokens)
        tokens = (tokens.float() + mixed * gate_attention).type_as(tokens)

        inner = block.norm2(tokens.float()).type_as(tokens)
        tokens = tokens + cross_attention(block.attn2, inner.flatten(1, 2), sequences.text).view_as(tokens)

        inner = (block.norm3(tokens.float()) * (1 + scale_mlp) + shift_mlp).type_as(tokens)
        result: Tensor = (tokens.float() + block.ffn(inner).float() * gate_mlp).type_as(tokens)
        return result

    def head(self, tokens: Tensor, sequences: Sequences) -> Tensor:
        """See `Backbone`."""
        transformer = self.transformer
        embedded = sequences.condition[..., : self.hidden_dim]
        shift, scale = (transformer.scale_shift_table[:, None] + embedded[:, :, None]).chunk(2, dim=2)
        inner = (transformer.norm_out(tokens.float()) * (1 + scale) + shift).type_as(tokens)
        _, p, q = transformer.config.patch_size
        frames: Tensor = rearrange(
            transformer.proj_out(inner), "s n (h w) (p q c) -> s n c (h p) (w q)", h=sequences.patch_grid[0], p=p, q=q
        )
        return frames

    def self_attentions(self) -> list[nn.Module]:
        """See `Backbone`."""
        return [block.attn1 for block in self.transformer.blocks]


def latent_times(times: int) -> int:
    """Latent times of a video of `times` frames. ValueError when the autoencoder cannot code that many."""
    if times < 1 or times % _TIME_COMPRESSION != 1:
        near = max(0, times - 1) // _TIME_COMPRESSION * _TIME_COMPRESSION + 1
        raise ValueError(
            f"{times} times are not 4k+1, which Wan's autoencoder needs; use {near} or {near + _TIME_COMPRESSION}"
        )
    return times // _TIME_COMPRESSION + 1
