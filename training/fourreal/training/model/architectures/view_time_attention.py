"""Exact attention of every token to the tokens of the same view or of the same time.

Shape legend: B grids, V views, T times, L patches of a frame, h heads, d numbers of a head; tokens lie as (V T L).

On CUDA: FlexAttention with a block mask (4Real-Video-V2). Elsewhere: the softmax over a union of key sets is put
together from the softmax over each set and its log-sum-exp. With r the keys of the same view, c those of the same time
and o those of the same frame, which are in both,

    Z = Z_r + Z_c - Z_o,    out = (Z_r out_r + Z_c out_c - Z_o out_o) / Z.

Z >= max(Z_r, Z_c) >= Z_o, so the difference costs no more than a factor of three in rounding. No set is larger than a
video, so memory grows with V*T and operations with V*T*(V+T+1), where a masked dense attention has (V*T)^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

_FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

# A grid's tokens as sequences whose tokens all see each other, and what each set counts for.
_SETS = {
    "b h (v t l) ... -> (b v) h (t l) ...": 1,  # same view
    "b h (v t l) ... -> (b t) h (v l) ...": 1,  # same time
    "b h (v t l) ... -> (b v t) h l ...": -1,  # same frame
}


@dataclass(frozen=True)
class ViewTimeAttention:
    """An `Attend` for grids of that many views and times."""

    views: int
    times: int

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Queries, keys, values [B, h, V*T*L, d] to mixed values of the same shape."""
        query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast the norms leave more digits
        if value.device.type == "cuda":
            return flex_view_time(query, key, value, self.views, self.times)
        mixed: Tensor = _UnionOfSets.apply(query, key, value, self.views, self.times)  # type: ignore[no-untyped-call]
        return mixed


def flex_view_time(query: Tensor, key: Tensor, value: Tensor, views: int, times: int) -> Tensor:
    """The same through FlexAttention, which skips the blocks that the mask empties."""
    mask = block_mask(views, times, query.shape[2] // (views * times), query.device)
    run = _compiled_flex() if query.device.type == "cuda" and not torch.compiler.is_compiling() else flex_attention
    mixed: Tensor = run(query, key, value, block_mask=mask)
    return mixed


@lru_cache(maxsize=8)
def block_mask(views: int, times: int, patches: int, device: torch.device) -> BlockMask:
    """Which blocks of the grid's attention have anything in them."""

    def same_view_or_time(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        query_frame, key_frame = query // patches, key // patches
        return (query_frame // times == key_frame // times) | (query_frame % times == key_frame % times)

    tokens = views * times * patches
    compiled = device.type == "cuda"  # or else the whole mask is made first
    return create_block_mask(same_view_or_time, None, None, tokens, tokens, device=device, _compile=compiled)


@lru_cache(maxsize=1)
def _compiled_flex() -> Any:
    return torch.compile(flex_attention)


class _UnionOfSets(torch.autograd.Function):
    """The formula above. Backward, each set gets the gradient of the whole: with the whole's output and log-sum-exp,
    the attention's own backward gives a set's part of it (Liu et al. 2023, "Ring Attention", appendix)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, views: int, times: int) -> Tensor:
        size = {"v": views, "t": times}
        outputs, logs = [], []
        for pattern in _SETS:
            out, log = _FORWARD(*(rearrange(x, pattern, **size).contiguous() for x in (query, key, value)))
            back = _inverse(pattern)
            outputs.append(rearrange(out, back, **size))
            logs.append(rearrange(log, back, **size))
        stacked = torch.stack(logs)
        signs = torch.tensor(list(_SETS.values()), dtype=stacked.dtype, device=stacked.device).view(-1, 1, 1, 1)
        top = stacked.amax(dim=0)
        weights = signs * (stacked - top).exp()
        total = weights.sum(dim=0)
        shares = (weights / total)[..., None]
        mixed = sum(share * out for share, out in zip(shares, outputs, strict=True))
        assert isinstance(mixed, Tensor)
        mixed = mixed.to(query.dtype)
        ctx.save_for_backward(query, key, value, mixed, top + total.log())
        ctx.size = size
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mixed, log = ctx.saved_tensors
        sums = [torch.zeros_like(x) for x in (query, key, value)]
        for pattern, sign in _SETS.items():
            parts = [rearrange(x, pattern, **ctx.size).contiguous() for x in (gradient, query, key, value, mixed, log)]
            for total, part in zip(sums, _BACKWARD(*parts, 0.0, False), strict=True):
                total.add_(rearrange(part, _inverse(pattern), **ctx.size), alpha=sign)
        return *sums, None, None


def _inverse(pattern: str) -> str:
    return " -> ".join(reversed(pattern.split(" -> ")))
