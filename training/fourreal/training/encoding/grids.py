"""From a grid to what training on latents reads of it, and the fingerprint of all that decides the numbers.

Shape legend: V views, T times, t latent times, C h w numbers of a latent frame.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from fourreal.platform.codec import EncodedGrid
from fourreal.platform.errors import UserError
from fourreal.training.data.coded import CodedGrid
from fourreal.training.data.latent_cache import CodedShape, Fingerprint, folder_fingerprint
from fourreal.training.data.pixels import crop_size, even_indices, fit, to_model
from fourreal.training.encoding.text import ENCODER_FOLDER, TOKENIZER_FOLDER, TextEncoder, text_width
from fourreal.training.model.backbones.wan import latent_times
from fourreal.training.model.backbones.wan_codec import VAE_FOLDER, WanCodec

NumberType = Literal["float16", "bfloat16", "float32"]
BACKBONE_FOLDER = "transformer"


@dataclass(frozen=True)
class EncoderSettings:
    """All that decides the numbers besides the grids."""

    model: str
    """Folder of a model in diffusers' format: `vae`, and `text_encoder` and `tokenizer` for captions."""
    times: int
    height: int
    width: int
    number_type: NumberType
    captions: bool
    words: int
    """Longest caption, in tokens."""

    @property
    def folder(self) -> Path:
        """`model` as a path."""
        return Path(self.model).expanduser()


class GridEncoder:
    """Codes grids one after the other. Raises UserError when the model's folder lacks what is needed.

    The text encoder, which may be larger than all else, is read when the first caption comes.
    """

    def __init__(self, settings: EncoderSettings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self._dtype: torch.dtype = getattr(torch, settings.number_type)
        computed_in = self._dtype if device.type == "cuda" else torch.float32
        try:
            self._codec = WanCodec.from_pretrained(settings.folder, computed_in)
        except ValueError as error:
            raise UserError(str(error)) from error
        self._codec.to(device)
        self._computed_in = computed_in

    def encode(self, grid: EncodedGrid) -> CodedGrid:
        """All views of a grid at `times` times, spread over its own, cropped and resized.

        Raises ValueError for a grid of fewer times or for sizes that the autoencoder cannot code.
        """
        settings = self.settings
        have_views, have_times, _, _ = grid.shape
        if have_times < settings.times:
            raise ValueError(f"it has {have_times} times, fewer than {settings.times}")
        times = even_indices(have_times, settings.times)
        latents = []
        for view in range(have_views):  # a view at a time in memory
            pixels = fit(grid.frames_at([(view, int(time)) for time in times]), settings.height, settings.width)
            frames = to_model(torch.from_numpy(pixels).to(self.device))[None]
            coded, _ = self._codec.encode(frames, torch.ones(1, settings.times, dtype=torch.bool))
            latents.append(coded[0].to("cpu", self._dtype))
        return CodedGrid(torch.stack(latents), self.embed(grid.meta.caption) if settings.captions else None)

    def embed(self, caption: str) -> torch.Tensor:
        """The embedding of a caption, [W, E]."""
        return self._text.encode(caption).to(self._dtype)

    @cached_property
    def _text(self) -> TextEncoder:
        return TextEncoder(self.settings.folder, self.settings.words, self._computed_in, self.device)

    def shape(self) -> CodedShape:
        """Shapes of what comes out. Raises ValueError for sizes that the autoencoder cannot code."""
        settings = self.settings
        frames = torch.zeros(1, 1, 3, settings.height, settings.width, device=self.device)
        coded, _ = self._codec.encode(frames, torch.ones(1, 1, dtype=torch.bool))
        channels, height, width = coded.shape[2:]
        text = (settings.words, text_width(settings.folder)) if settings.captions else None
        return CodedShape(latent_times(settings.times), (channels, height, width), text, settings.number_type)


def fingerprint(settings: EncoderSettings, source: str) -> Fingerprint:
    """Of a cache made with these settings from grids of this fingerprint. Reads the model's files."""
    folder = settings.folder
    return Fingerprint(
        source=source,
        backbone=folder_fingerprint(folder / BACKBONE_FOLDER),
        vae=folder_fingerprint(folder / VAE_FOLDER if (folder / VAE_FOLDER).is_dir() else folder),
        text_encoder=_text_fingerprint(folder) if settings.captions else "none",
        words=settings.words if settings.captions else 0,
        size=(settings.times, settings.height, settings.width),
        number_type=settings.number_type,
        code=code_version(),
    )


def fingerprint_for(made: Fingerprint, source: str, model: Path | None) -> Fingerprint:
    """What a cache made as `made` says would be now: with this code, grids of the fingerprint `source`, and those parts
    that lie in the folder of the model to be trained, in diffusers' format. Empty where nothing is known."""
    backbone = vae = text_encoder = ""
    if model is not None:
        transformer = model / BACKBONE_FOLDER if (model / BACKBONE_FOLDER).is_dir() else model
        backbone = folder_fingerprint(transformer) if _is_of_diffusers(transformer) else ""
        vae = folder_fingerprint(model / VAE_FOLDER)
        has_text = made.words > 0 and (model / ENCODER_FOLDER).is_dir()
        text_encoder = _text_fingerprint(model) if has_text else ""
    return replace(made, source=source, backbone=backbone, vae=vae, text_encoder=text_encoder, code=code_version())


def _text_fingerprint(folder: Path) -> str:
    return "-".join(folder_fingerprint(folder / name) for name in (ENCODER_FOLDER, TOKENIZER_FOLDER))


def _is_of_diffusers(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and "_class_name" in json.loads(config.read_text())


def code_version() -> str:
    """Of the code that makes the numbers: changes when it does, not when its comments and docstrings do."""
    parts: tuple[type | Callable[..., object], ...] = (
        fit, crop_size, even_indices, to_model, latent_times, WanCodec, TextEncoder, GridEncoder,
    )  # fmt: skip
    digest = hashlib.sha256()
    for part in parts:
        digest.update(ast.dump(_without_docstrings(textwrap.dedent(inspect.getsource(part)))).encode())
    return digest.hexdigest()[:16]


def _without_docstrings(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree
