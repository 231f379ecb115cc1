"""What the backbones on diffusers share: its attention modules, run with our `Attend`, and reading its folders.

Shape legend: as in `base.py`; M = N*L tokens of a sequence. An attention module is one of diffusers', with `to_q`,
`to_k`, `to_v`, `norm_q`, `norm_k`, `to_out` and `heads`. The order of operations is that of diffusers' attention
processors, so that results agree to the bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fourreal.training.model.backbones.base import Attend, Text
from fourreal.training.model.backbones.rotary import rotate_pairs


def self_attention(attention: Any, tokens: Tensor, rotary: Tensor, attend: Attend) -> Tensor:
    """Self-attention of tokens [S, M, D] to [S, M, D]."""
    query = rotate_pairs(_heads(attention, attention.norm_q(attention.to_q(tokens))), rotary)
    key = rotate_pairs(_heads(attention, attention.norm_k(attention.to_k(tokens))), rotary)
    value = _heads(attention, attention.to_v(tokens))
    return _out(attention, attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)), query)


def cross_attention(attention: Any, tokens: Tensor, text: Text) -> Tensor:
    """Cross-attention of tokens [S, M, D] to the text [B, words, D] of B samples, S/B sequences each; [S, M, D]."""
    # Projected once for a sample, then copied for its sequences: attention over the sequences of a sample laid end to
    # end would need no copies, but sums in another order than the base model.
    each = tokens.shape[0] // text.embeddings.shape[0]
    query = _heads(attention, attention.norm_q(attention.to_q(tokens)))
    key = _heads(attention, attention.norm_k(attention.to_k(text.embeddings))).repeat_interleave(each, 0)
    value = _heads(attention, attention.to_v(text.embeddings)).repeat_interleave(each, 0)
    bias = None
    if text.mask is not None:
        bias = ((1 - text.mask.to(query.dtype)) * -10000.0)[:, None, None].repeat_interleave(each, 0)
    mixed = functional.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=bias
    )
    return _out(attention, mixed, query)


def transformer_folder(source: str | Path) -> dict[str, Any]:
    """Arguments of diffusers' `from_pretrained` for a transformer's folder, a pipeline's folder, or a hub id."""
    path = Path(source)
    if path.is_dir():
        inside = path / "transformer"
        folder = inside if inside.is_dir() else path
        if not (folder / "config.json").is_file():
            raise ValueError(f"{source} is no diffusers model (no config.json in it); name a folder that has one")
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    if path.is_absolute() or str(source).count("/") != 1:
        raise ValueError(f"{source} is neither a folder nor a hub id such as owner/name; check the name")
    return {"pretrained_model_name_or_path": str(source), "subfolder": "transformer"}


def check_class(source: str | Path, found: str | None, wanted: str) -> None:
    """ValueError, naming both sides, when a folder holds another kind of transformer than the backbone runs."""
    if found is not None and found != wanted:
        raise ValueError(f"{source} holds a {found}, this backbone runs a {wanted}; use the backbone made for it")


def check_text(text: Text | None, width: int, backbone: str, encoder: str) -> Text:
    """The text. ValueError, naming both sides, when there is none or it is of another encoder."""
    if text is None or text.embeddings.ndim != 3 or text.embeddings.shape[-1] != width:
        found = "none was given" if text is None else f"{list(text.embeddings.shape)} was given"
        raise ValueError(f"the {backbone} backbone reads {encoder} embeddings of shape [B, tokens, {width}]: {found}")
    return text


def plain(config: Any) -> dict[str, Any]:
    """diffusers' configuration as JSON knows it, without its private fields."""
    public = {name: value for name, value in dict(config).items() if not name.startswith("_")}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in public.items()}


def _heads(attention: Any, tokens: Tensor) -> Tensor:
    return torch.unflatten(tokens, 2, (attention.heads, -1))


def _out(attention: Any, mixed: Tensor, like: Tensor) -> Tensor:
    """Mixed values [S, heads, M, D/heads] through the output projection, [S, M, D]."""
    out: Tensor = attention.to_out[0](mixed.transpose(1, 2).flatten(2, 3).type_as(like))
    return out
