"""LTX-Video transformers (HaCohen et al. 2024, arXiv 2501.00103) on diffusers' `LTXVideoTransformer3DModel`.

Shape legend: as in `base.py`; C H W are latents of LTX's autoencoder (8x fewer times, the first frame alone, and 32x
smaller frames), K = 7 D: the embedded time for the head, then six modulations for the layers. Text is what T5-XXL
makes of a caption, [B, tokens, 4096], with its mask.

As in `wan.py`: diffusers' modules and weights, its order of operations, a context embedding that is zero at the start,
and given frames told by their diffusion time of 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import LTXVideoTransformer3DModel
from einops import rearrange
from torch import Tensor, nn

from fourreal.training.model.backbones.base import Attend, Backbone, BackboneConfig, Sequences, Text, align, attend_all
from fourreal.training.model.backbones.diffusers_parts import (
    check_class,
    check_text,
    cross_attention,
    plain,
    self_attention,
    transformer_folder,
)

_TIMESTEPS = 1000  # LTX counts diffusion time from 0 to 1000


@dataclass(frozen=True, kw_only=True)
class LtxConfig(BackboneConfig):
    """`transformer`: the arguments of `LTXVideoTransformer3DModel`; what is left out has its default there (2 B).

    Positions are counted in seconds and pixels: `fps` of the videos, and what the autoencoder makes one latent of.
    """

    transformer: dict[str, Any] = field(default_factory=dict)
    fps: float = 25.0
    time_compression: int = 8
    space_compression: int = 32


class LtxBackbone(Backbone):
    """An LTX-Video transformer as backbone. Text is required."""

    name = "ltx"
    config: LtxConfig

    def __init__(self, transformer: LTXVideoTransformer3DModel, config: LtxConfig) -> None:
        super().__init__()
        inner = transformer.config
        if (inner.patch_size, inner.patch_size_t) != (1, 1):
            raise ValueError(
                f"this LTX transformer has patches of {inner.patch_size_t} frames and {inner.patch_size} latents; "
                f"one of each is needed"
            )
        self.config = config
        self.transformer = transformer
        self.hidden_dim = inner.num_attention_heads * inner.attention_head_dim
        self.depth, self.channels = inner.num_layers, inner.in_channels
        self.context_embedding = nn.Embedding(2, self.hidden_dim)
        nn.init.zeros_(self.context_embedding.weight)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """See `Backbone`."""
        values = LtxConfig.from_dict(config)
        return cls(LTXVideoTransformer3DModel(**values.transformer), values)

    @classmethod
    def from_pretrained(cls, source: str | Path, dtype: torch.dtype | None = None, fps: float = 25.0) -> Self:
        """A pretrained transformer: its diffusers folder, its pipeline's folder, or a hub id (owner/name).

        ValueError when the source is none of these, or another transformer.
        """
        where = transformer_folder(source)
        found = LTXVideoTransformer3DModel.load_config(**where).get("_class_name")
        check_class(source, found, "LTXVideoTransformer3DModel")
        transformer = LTXVideoTransformer3DModel.from_pretrained(**where, torch_dtype=dtype, use_safetensors=True)
        backbone = cls(transformer, LtxConfig(transformer=plain(transformer.config), fps=fps))
        backbone.context_embedding.to(dtype)
        align(backbone)
        return backbone

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """See `Backbone`; a patch is one latent."""
        return height, width

    def embed(self, frames: Tensor, given: Tensor) -> Tensor:
        """See `Backbone`."""
        tokens: Tensor = self.transformer.proj_in(rearrange(frames, "s n c h w -> s (n h w) c"))
        return torch.unflatten(tokens, 1, (frames.shape[1], -1))

    def embed_time(self, time: Tensor) -> Tensor:
        """See `Backbone`."""
        dtype = self.transformer.proj_in.weight.dtype
        embedded: Tensor = self.transformer.time_embed.emb(
            time * _TIMESTEPS, resolution=None, aspect_ratio=None, batch_size=time.shape[0], hidden_dtype=dtype
        )
        return embedded

    def modulation(self, embedded: Tensor) -> Tensor:
        """See `Backbone`."""
        time_embed = self.transformer.time_embed
        return torch.cat([embedded, time_embed.linear(time_embed.silu(embedded))], dim=-1)

    def embed_text(self, text: Text | None) -> Text | None:
        """See `Backbone`."""
        text = check_text(text, self.transformer.config.caption_channels, "LTX", "T5")
        return Text(self.transformer.caption_projection(text.embeddings), text.mask)

    def rotary(self, frames: Tensor, patch_grid: tuple[int, int]) -> Tensor:
        """See `Backbone`."""
        config, rope = self.config, self.transformer.rope
        rows, columns = (torch.arange(length, device=frames.device) for length in patch_grid)
        axes = torch.meshgrid(frames.float(), rows.float(), columns.float(), indexing="ij")
        scales = (config.time_compression / config.fps, config.space_compression, config.space_compression)
        coordinates = torch.stack([axis.flatten() * scale for axis, scale in zip(axes, scales, strict=True)])
        # diffusers writes each angle twice, once for each number of a pair.
        cos, sin = rope(coordinates[None], video_coords=coordinates[None])
        table = torch.stack([cos[0, :, 0::2], sin[0, :, 1::2]])
        return torch.unflatten(table, 2, (self.transformer.config.num_attention_heads, -1))

    def run_layer(self, index: int, tokens: Tensor, sequences: Sequences, attend: Attend = attend_all) -> Tensor:
        """See `Backbone`."""
        assert sequences.text is not None
        block = self.transformer.transformer_blocks[index]
        modulation = torch.unflatten(sequences.condition[..., self.hidden_dim :], -1, (6, -1))
        parts = (block.scale_shift_table + modulation).chunk(6, dim=2)
        shift_attention, scale_attention, gate_attention, shift_mlp, scale_mlp, gate_mlp = parts

        inner = block.norm1(tokens) * (1 + scale_attention) + shift_attention
        mixed = self_attention(block.attn1, inner.flatten(1, 2), sequences.rotary, attend).view_as(tokens)
        tokens = tokens + mixed * gate_attention
        tokens = tokens + cross_attention(block.attn2, tokens.flatten(1, 2), sequences.text).view_as(tokens)
        inner = block.norm2(tokens) * (1 + scale_mlp) + shift_mlp
        result: Tensor = tokens + block.ff(inner) * gate_mlp
        return result

    def head(self, tokens: Tensor, sequences: Sequences) -> Tensor:
        """See `Backbone`."""
        transformer = self.transformer
        embedded = sequences.condition[..., : self.hidden_dim]
        shift, scale = (transformer.scale_shift_table + embedded[:, :, None]).chunk(2, dim=2)
        latents = transformer.proj_out(transformer.norm_out(tokens) * (1 + scale) + shift)
        frames: Tensor = rearrange(latents, "s n (h w) c -> s n c h w", h=sequences.patch_grid[0])
        return frames

    def self_attentions(self) -> list[nn.Module]:
        """See `Backbone`."""
        return [block.attn1 for block in self.transformer.transformer_blocks]
