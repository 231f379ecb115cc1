"""`--assets objaverse` and `--assets objaverse-xl`."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fourreal.datagen.assets.source import Scratch
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.objaverse import package
from fourreal.datagen.objaverse.cache import Cache
from fourreal.datagen.objaverse.catalogue import Published, first_objects, xl_objects
from fourreal.datagen.objaverse.http import DownloadFailure
from fourreal.datagen.objaverse.selection import choose, read_uids, uid_filter
from fourreal.datagen.objaverse.settings import XL, Downloads, Selection
from fourreal.datagen.objaverse.verify import check_json_gz, sha256_of
from fourreal.platform.datajob import Item, ItemFailure, Preparation
from fourreal.platform.errors import UserError

_TRIES = 10
"""How often a file is fetched that others delete before it is linked."""


class ObjaverseAssets:
    """Objects of Objaverse 1.0 or XL, as selected."""

    def __init__(self, assets: str, seed: int, selection: Selection, downloads: Downloads) -> None:
        self.assets, self.seed, self.selection = assets, seed, selection
        self.cache = Cache(downloads)
        self.scratch = Scratch()

    def items(self) -> Iterator[Item]:
        """See `AssetSource`. Metadata come from the server when they are not here; UserError when they cannot."""
        try:
            chosen = self._choose()
        except DownloadFailure as failure:
            raise UserError(
                f"Objaverse's metadata cannot be had ({failure.reason}): {failure.message}; try again, or name a "
                "mirror with --download.url"
            ) from None
        for found in chosen:
            yield _item(found)

    def settings(self) -> Mapping[str, Any]:
        """See `AssetSource`."""
        return {f"objaverse.{name}": value for name, value in asdict(self.selection).items()}

    def preparation(self) -> Preparation | None:
        """See `AssetSource`."""
        downloads = self.cache.downloads
        return Preparation(functools.partial(Downloader, downloads), downloads.parallel, downloads.ahead)

    def local(self, item: Item, worker: BlenderWorker) -> tuple[Path, str]:
        """See `AssetSource`. Blender reads a name of this worker's own: others may delete the one in the cache."""
        self.scratch.begin()
        own = self.scratch.path(Path(str(item.spec["file"])).name)
        for _ in range(_TRIES):
            try:
                _link(fetch(self.cache, item), own)
            except FileNotFoundError:
                continue  # another worker was done with it between these two steps
            self.cache.release(str(item.spec["file"]))  # where it had to be fetched again: nobody else would delete it
            return own, str(item.spec.get("sha256") or sha256_of(own))
        raise ItemFailure("download", "disk", f"{item.spec['file']} is deleted from the cache as often as it comes")

    def close(self) -> None:
        """See `AssetSource`: downloads are kept."""
        self.scratch.close()

    def _choose(self) -> list[Published]:
        s = self.selection
        listed = read_uids(s.uids_file) if s.uids_file else None
        lvis = None
        if s.lvis_categories:
            self.cache.get(package.LVIS, package.address_of(package.LVIS), check_json_gz)
            lvis = package.read_lvis(self.cache.folder)
        objects = xl_objects if self.assets == XL else first_objects
        return choose(objects(self.cache, uid_filter(s, listed, lvis)), s, self.seed)


class Downloader:
    """Downloads what items need; see `Preparer`."""

    def __init__(self, downloads: Downloads) -> None:
        self.cache = Cache(downloads)

    def prepare(self, item: Item) -> None:
        """See `Preparer`."""
        fetch(self.cache, item)

    def release(self, item: Item) -> None:
        """See `Preparer`."""
        self.cache.release(str(item.spec["file"]))


def _link(path: Path, own: Path) -> None:
    """Give a file a second name; a copy where the file system has no such thing. Raises OSError."""
    try:
        own.hardlink_to(path)
    except FileNotFoundError:
        raise
    except OSError:  # another device, or links are not allowed
        shutil.copyfile(path, own)


def fetch(cache: Cache, item: Item) -> Path:
    """The item's file, whole, on this machine. Raises ItemFailure of the stage `download`."""
    try:
        return cache.glb(str(item.spec["file"]), str(item.spec["address"]), str(item.spec.get("sha256", "")))
    except DownloadFailure as failure:
        # Not retryable within the job: it was tried again as often as --download.attempts says.
        raise ItemFailure("download", failure.reason, failure.message, attempts=failure.attempts) from None


def _item(found: Published) -> Item:
    spec: dict[str, Any] = {
        "uid": found.uid,
        "file": found.name,
        "address": found.address,
        "licence": found.licence,
        "attribution": {"title": found.title, "author": found.author, "url": found.url},
    }
    if found.animations is not None:
        spec["animations"] = found.animations
    if found.sha256:
        spec["sha256"] = found.sha256
    return Item(found.uid, found.url, spec)
