"""A folder of weights, `DIR/NAME/FILE`, and the check that a file is the one published, or the one used before."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fourreal.evaluation.pretrained.registry import REGISTRY, Weights, WeightsFile
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

FOLDER_VARIABLE = "FOURREAL_WEIGHTS"
LOCK = "sha256.lock.json"
"""Beside the files: the sha256 that each had when it was first used."""

_DEFAULT = "~/.cache/fourreal/weights"
_SHA256_DIGITS = 64
_LOG = logging.getLogger(__name__)


class NoWeights(Exception):
    """Weights that cannot be used: the text says why and what to do."""


class WeightsStore:
    """Weights in a folder on this machine or in an object store (whose files are copied to a temporary folder)."""

    def __init__(self, uri: str | None = None, registry: Mapping[str, Weights] = REGISTRY) -> None:
        self.uri = uri or os.environ.get(FOLDER_VARIABLE) or _DEFAULT
        self.registry = registry
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    def weights(self, name: str) -> Weights:
        """The weights of this name. Raises UserError for a name that there is not."""
        if name not in self.registry:
            raise UserError(f"there are no weights {name!r}: choose from {', '.join(self.registry)}")
        return self.registry[name]

    def storage(self, name: str) -> Storage:
        """The folder of these weights."""
        return Storage(self.uri).child(name)

    def files(self, name: str) -> tuple[WeightsFile, ...]:
        """The files of these weights, with those that their index names once it is there.

        Raises NoWeights when the index cannot be read.
        """
        weights, storage = self.weights(name), self.storage(name)
        if not weights.index or not storage.exists(weights.index):
            return weights.files
        try:
            parts = sorted(set(json.loads(storage.read(weights.index))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            parts = [""]
        if not all(isinstance(part, str) and re.fullmatch(r"[A-Za-z0-9_.-]+\.safetensors", part) for part in parts):
            raise NoWeights(f"{weights.index} in {storage.uri} is damaged: delete it and fetch {name} again")
        address = next(file.url for file in weights.files if file.name == weights.index).removesuffix(weights.index)
        return (*weights.files, *(WeightsFile(part, f"{address}{part}") for part in parts))

    def missing(self, name: str) -> list[str]:
        """Files of these weights that are not there. Raises NoWeights as `files` does."""
        return [file.name for file in self.files(name) if not self.storage(name).exists(file.name)]

    def open(self, name: str) -> tuple[Path, dict[str, str]]:
        """A folder on this machine with these weights, and the sha256 of each file in it.

        Raises NoWeights when a file is missing or is not the one published or used before.
        """
        if missing := self.missing(name):
            raise NoWeights(
                f"{', '.join(missing)} of the weights {name!r} is not in {self.storage(name).uri}: "
                f"`fourreal weights fetch {name}`, or copy it there"
            )
        folder = self._local(name)
        digests = {file.name: sha256(folder / file.name) for file in self.files(name)}
        locked = self._locked(name)
        for file in self.files(name):
            _check_published(file, digests[file.name])
            if locked.get(file.name, digests[file.name]) != digests[file.name]:
                raise NoWeights(
                    f"{file.name} in {self.storage(name).uri} has sha256 {digests[file.name][:12]}, at its first use "
                    f"it had {locked[file.name][:12]}: put the old file back, or delete it and {LOCK}, and fetch again"
                )
        self._lock(name, {**locked, **digests})
        return folder, digests

    def put(self, name: str, file: WeightsFile, source: Path) -> str:
        """Keep `source` as this file, and return its sha256. Raises NoWeights when it is not the one published."""
        digest = sha256(source)
        _check_published(file, digest)
        self.storage(name).write(file.name, source.read_bytes())
        self._lock(name, {**self._locked(name), file.name: digest})
        return digest

    def _local(self, name: str) -> Path:
        storage = self.storage(name)
        if storage.is_local:
            return Path(storage.root)
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="fourreal-weights-")
        folder = Path(self._copies.name) / name
        folder.mkdir(exist_ok=True)
        for file in self.files(name):
            (folder / file.name).write_bytes(storage.read(file.name))
        return folder

    def _locked(self, name: str) -> dict[str, str]:
        storage = self.storage(name)
        if not storage.exists(LOCK):
            return {}
        try:
            record = json.loads(storage.read(LOCK))
        except ValueError:
            record = None
        if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
            raise NoWeights(f"{LOCK} in {storage.uri} is damaged: check the files beside it, then delete it")
        return record

    def _lock(self, name: str, digests: Mapping[str, str]) -> None:
        if self._locked(name) == digests:
            return
        try:
            self.storage(name).write(LOCK, json.dumps(dict(sorted(digests.items())), indent=1).encode())
        except Exception as error:  # what a read-only folder or bucket raises; published digests were checked anyway
            _LOG.warning("cannot write %s: a later change of these weights will not be noticed (%s)", LOCK, error)


def _check_published(file: WeightsFile, digest: str) -> None:
    """Raise NoWeights when a file with this sha256 is not the one published."""
    if not digest.startswith(file.sha256):
        published = file.sha256[:12] + ("..." if len(file.sha256) == _SHA256_DIGITS else " (its first digits)")
        raise NoWeights(
            f"{file.name} has sha256 {digest[:12]}..., published is {published}: it is another file or a damaged one; "
            f"delete it and take it from {file.url}"
        )


def sha256(path: Path) -> str:
    """Of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
