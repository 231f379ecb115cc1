"""What every source of assets can do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.scratch import ScratchFolder
from fourreal.platform.datajob import Item, Preparation
from fourreal.platform.storage_errors import disk_errors


class AssetSource(Protocol):
    """One kind of place that assets come from.

    The job lists its items once; each worker has a source of its own, made from the same configuration.
    """

    def items(self) -> Iterator[Item]:
        """One item for each asset, with a key that stays the same wherever the asset is moved.

        Its spec holds `licence`, the file's `sha256` where it is known, `attribution` (title, author, url) where there
        is one, and `clips` (see `clips_of`) where the file could be read, or `animations`, their number, where that is
        published. Raises UserError when there is nothing.
        """
        ...

    def settings(self) -> Mapping[str, Any]:
        """What decides the items besides the address and the seed, as JSON with the names of the flags."""
        ...

    def preparation(self) -> Preparation | None:
        """The waiting that items need, for sources that are far away."""
        ...

    def local(self, item: Item, worker: BlenderWorker) -> tuple[Path, str]:
        """The item's file on this machine, and its sha256.

        Raises ItemFailure when it cannot be had, WorkerFailure when a model cannot be made, OSError for a lost file.
        """
        ...

    def close(self) -> None:
        """Delete what was brought here for a moment."""
        ...


MOST_OBJECTS = 16
"""Assets that may share a scene."""


class Scratch:
    """Files of the assets at hand, which Blender opens and nobody keeps: each asset's in a folder of its own."""

    def __init__(self) -> None:
        self._begun = 0

    @cached_property
    def _folder(self) -> ScratchFolder:
        return ScratchFolder("assets")

    def path(self, name: str) -> Path:
        """Where a file of this name would lie, with the folders that it needs made. Raises StorageError."""
        path = self._folder.path / str(self._begun) / name
        with disk_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, name: str, data: bytes) -> Path:
        """Write a file. Raises StorageError: no asset is to be blamed for a full disk."""
        path = self.path(name)
        with disk_errors(str(path)):
            path.write_bytes(data)
        return path

    def begin(self) -> None:
        """The files of another asset come now; those of as many as may share a scene stay, older ones are deleted."""
        self._begun += 1
        shutil.rmtree(self._folder.path / str(self._begun - MOST_OBJECTS), ignore_errors=True)

    def close(self) -> None:
        """Delete the folder."""
        self._folder.close()
