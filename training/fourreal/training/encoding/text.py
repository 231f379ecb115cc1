"""Captions to embeddings: T5 or UMT5 through transformers, from a folder, never a download.

UMT5-XXL is what Wan reads, 512 tokens of it (Wan Team 2025, arXiv 2503.20314, section 4.1); T5-XXL is what
LTX-Video reads.

Shape legend: W tokens of a caption, E width of an embedding.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fourreal.platform.errors import UserError

ENCODER_FOLDER, TOKENIZER_FOLDER = "text_encoder", "tokenizer"
_CLASSES = {"t5": "T5EncoderModel", "umt5": "UMT5EncoderModel"}


class TextEncoder:
    """The encoder of a model folder in diffusers' format (`text_encoder` and `tokenizer` in it).

    `words`: longest caption in tokens; what is longer is cut. Raises UserError when the folder has none that is known.
    """

    def __init__(self, folder: Path, words: int, dtype: torch.dtype, device: torch.device) -> None:
        import transformers

        self.words, self.device = words, device
        kind = _configuration(folder).model_type
        with _named(folder):
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                folder / TOKENIZER_FOLDER, local_files_only=True
            )
            model = getattr(transformers, _CLASSES[kind]).from_pretrained(
                folder / ENCODER_FOLDER, local_files_only=True, dtype=dtype, use_safetensors=True
            )
        self._model = model.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def encode(self, caption: str) -> Tensor:
        """The embedding of a caption up to its end, [W, E], on the CPU; the empty one has its end token."""
        text = " ".join(html.unescape(caption).split())
        tokens = self._tokenizer(text, truncation=True, max_length=self.words, return_tensors="pt").to(self.device)
        hidden: Tensor = self._model(tokens.input_ids, tokens.attention_mask).last_hidden_state[0]
        return hidden.cpu()


def text_width(folder: Path) -> int:
    """E of the encoder of a model folder, without reading its weights. UserError as for `TextEncoder`."""
    return int(_configuration(folder).d_model)


def _configuration(folder: Path) -> Any:
    import transformers

    with _named(folder):
        config = transformers.AutoConfig.from_pretrained(folder / ENCODER_FOLDER, local_files_only=True)
    if config.model_type not in _CLASSES:
        raise UserError(
            f"{folder / ENCODER_FOLDER} is a {config.model_type} encoder: {' and '.join(_CLASSES)} encoders are known"
        )
    return config


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise UserError(
            f"the text encoder of {folder} cannot be read ({first_line}): save {ENCODER_FOLDER} and "
            f"{TOKENIZER_FOLDER} there"
        ) from error
