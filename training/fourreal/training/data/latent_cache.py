"""A folder of grids that were coded before training, and what it was made with: a stale one is refused, never used.

Beside its shards (`coded.py` is what they hold) lies `cache.json`: the settings and fingerprints of all that decided
the numbers, and their shapes. `empty.safetensors` is the embedding of the empty caption.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load, save
from torch import Tensor

from fourreal.platform.errors import UserError
from fourreal.platform.shards import ShardRecord, require_shards
from fourreal.platform.storage import Storage

CACHE_FILE = "cache.json"
EMPTY_FILE = "empty.safetensors"
CACHE_VERSION = 1


@dataclass(frozen=True)
class CodedShape:
    """Shapes of what a cache holds: latent times, a latent frame (C, h, w), a caption (words, width) padded."""

    times: int
    frame: tuple[int, int, int]
    text: tuple[int, int] | None
    number_type: str
    """Of latents and captions: float16, bfloat16 or float32."""

    @property
    def dtype(self) -> torch.dtype:
        """`number_type` as torch has it."""
        dtype: torch.dtype = getattr(torch, self.number_type)
        return dtype


@dataclass(frozen=True)
class Fingerprint:
    """All that decides the numbers of a cache. Empty: there was none, or it is not known where one is compared."""

    source: str
    """Of the folder of grids, `source_fingerprint`."""
    backbone: str
    """sha256 of the weights that the cache was made for."""
    vae: str
    """sha256 of the autoencoder's files."""
    text_encoder: str
    """sha256 of the files of text encoder and tokenizer."""
    words: int
    """Tokens of the longest caption; 0 without captions."""
    size: tuple[int, int, int]
    """Times, height and width of the frames that were coded."""
    number_type: str
    code: str
    """Of the code that made them, `code_version`."""


_MODEL_FILES = (".safetensors", ".json", ".model")
_NAMES = {
    "source": "the grids",
    "backbone": "the backbone's weights",
    "vae": "the autoencoder's weights",
    "text_encoder": "the text encoder",
    "words": "the longest caption",
    "size": "times, height and width of the frames",
    "number_type": "the number type",
    "code": "the code that encodes",
}


@dataclass(frozen=True)
class LatentCache:
    """An opened cache."""

    storage: Storage
    source_uri: str
    fingerprint: Fingerprint
    shape: CodedShape

    @classmethod
    def open(cls, folder: str) -> LatentCache:
        """The cache in a folder. Raises UserError when there is none, or one of another version."""
        storage = Storage(folder)
        where = f"{storage.uri.rstrip('/')}/{CACHE_FILE}"
        if not storage.exists(CACHE_FILE):
            raise UserError(f"{folder} is no cache of latents (no {CACHE_FILE}): make one with `fourreal precompute`")
        try:
            document = json.loads(storage.read(CACHE_FILE))
            version = document["version"]
            if version != CACHE_VERSION:
                raise UserError(f"{where} has version {version}, this fourreal reads {CACHE_VERSION}: make it again")
            return cls(
                storage,
                str(document["source_uri"]),
                TypeAdapter(Fingerprint).validate_python(document["fingerprint"]),
                TypeAdapter(CodedShape).validate_python(document["shape"]),
            )
        except (KeyError, TypeError, json.JSONDecodeError, ValidationError) as error:
            raise UserError(f"{where} is unreadable ({' '.join(str(error).split())}): make the cache again") from None

    def save(self) -> None:
        """Write what `open` reads."""
        document = {
            "version": CACHE_VERSION,
            "source_uri": self.source_uri,
            "fingerprint": asdict(self.fingerprint),
            "shape": asdict(self.shape),
        }
        self.storage.write(CACHE_FILE, json.dumps(document, indent=1, sort_keys=True).encode())

    @cached_property
    def empty_text(self) -> Tensor:
        """Embedding of the empty caption, [W, E]."""
        text: Tensor = load(self.storage.read(EMPTY_FILE))["text"]
        return text

    def check(self, now: Fingerprint) -> None:
        """Raises UserError, naming what changed, unless the cache is what would be made now.

        What is empty in `now` is not known there, and not compared.
        """
        before, after = asdict(self.fingerprint), asdict(now)
        changed = [name for name, value in after.items() if value and value != before[name]]
        if changed:
            what = " and ".join(_NAMES[name] for name in changed)
            raise UserError(
                f"the cache in {self.storage.uri} is stale, because {what} changed since it was made "
                f"({changed[0]} was {before[changed[0]] or 'none'}, is now {after[changed[0]]}): "
                f"run `fourreal precompute` into another folder"
            )


def write_empty_text(storage: Storage, text: Tensor) -> None:
    """Keep the embedding of the empty caption, [W, E], beside a cache's shards."""
    storage.write(EMPTY_FILE, save({"text": text.contiguous()}))


def is_cache(folder: str) -> bool:
    """Whether a folder is a cache of latents."""
    return Storage(folder).exists(CACHE_FILE)


def source_fingerprint(storage: Storage) -> str:
    """Of a folder of shards: changes when any of its grids does. UserError for a folder without grids."""
    return records_fingerprint(require_shards(storage))


def records_fingerprint(records: Sequence[ShardRecord]) -> str:
    """The same, of shards by their records."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.index} {record.sha256}\n".encode())
    return digest.hexdigest()[:16]


def folder_fingerprint(folder: Path) -> str:
    """Of a model's folder: its weights, configuration and vocabulary; empty when there is no such folder."""
    if not folder.is_dir():
        return ""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _MODEL_FILES):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()[:16]
