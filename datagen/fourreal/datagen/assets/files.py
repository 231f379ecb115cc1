"""Assets in a folder, or one file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fourreal.datagen.assets.source import Scratch
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.gltf_buffers import MAX_FILE_BYTES, addresses_of
from fourreal.datagen.gltf_clips import clips_of
from fourreal.datagen.gltf_file import attribution_of, licence_of
from fourreal.platform.datajob import Item, ItemFailure, Preparation
from fourreal.platform.errors import UserError
from fourreal.platform.grid import make_key
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import StorageError

_SUFFIXES = (".glb", ".gltf")
_NAME_ROOM = 60
"""Characters of a name that every file system holds; an object store allows more."""


class FileAssets:
    """A .glb or .gltf file, or a folder of them, searched to any depth; local or s3://.

    A file that is there twice, by name and content, counts once.
    """

    def __init__(self, assets: str) -> None:
        self.assets = assets
        self.scratch = Scratch()

    def items(self) -> Iterator[Item]:
        """See `AssetSource`."""
        folder, names = self._find()
        seen = set()
        for name in names:
            data = folder.read(name)
            sha256 = hashlib.sha256(data).hexdigest()
            key = f"{make_key(PurePosixPath(name).stem)[:80]}-{sha256[:8]}"
            if key not in seen:
                seen.add(key)
                spec = {"folder": folder.uri, "name": name, "sha256": sha256, "licence": licence_of(data)}
                known = {"attribution": attribution_of(data) or None, "clips": clips_of(data)}
                address = folder.path(name) if folder.is_local else f"s3://{folder.path(name)}"
                yield Item(key, address, spec | {k: v for k, v in known.items() if v is not None})

    def settings(self) -> Mapping[str, Any]:
        """See `AssetSource`."""
        return {}

    def preparation(self) -> Preparation | None:
        """See `AssetSource`."""
        return None

    def local(self, item: Item, worker: BlenderWorker) -> tuple[Path, str]:
        """See `AssetSource`. The plan says of these bytes whose they are, so of others nobody knows."""
        folder = Storage(str(item.spec["folder"]))
        name = str(item.spec["name"])
        path = Path(folder.path(name)) if folder.is_local else self._bring(folder, name)
        sha256 = str(item.spec["sha256"])
        if path.is_file() and _sha256_of(path) != sha256:
            message = f"{item.source} is not the file that was planned: put it back, or plan anew with another --out"
            raise ItemFailure("load", "changed", message)
        return path, sha256

    def close(self) -> None:
        """See `AssetSource`."""
        self.scratch.close()

    def _bring(self, folder: Storage, name: str) -> Path:
        """Copy a file here, and with it those beside it that it points at; one that does not come is found missing."""
        self.scratch.begin()
        data = folder.read(name)
        path = self.scratch.keep(PurePosixPath(name).name[-_NAME_ROOM:], data)
        here = name.rpartition("/")[0]
        for beside in addresses_of(data):
            there = f"{here}/{beside}" if here else beside
            size_bytes = folder.size_bytes(there)
            if size_bytes is not None and size_bytes <= MAX_FILE_BYTES:
                content = folder.read(there)
                try:
                    self.scratch.keep(beside, content)
                except StorageError as error:
                    if error.lasting:  # a full disk, say; otherwise a name that this file system cannot hold
                        raise
        return path

    def _find(self) -> tuple[Storage, list[str]]:
        path = PurePosixPath(self.assets)
        if path.suffix.lower() in _SUFFIXES:
            folder = Storage(self.assets[: -len(path.name)] or ".")
            if not folder.exists(path.name):
                raise UserError(f"--assets {self.assets} does not exist")
            return folder, [path.name]
        folder = Storage(self.assets)
        names = [e.path for e in folder.list(recursive=True) if PurePosixPath(e.path).suffix.lower() in _SUFFIXES]
        if not names:
            raise UserError(
                f"there is no .glb or .gltf file in {self.assets}: give a folder, a file, procedural:N or objaverse"
            )
        return folder, names


def _sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
