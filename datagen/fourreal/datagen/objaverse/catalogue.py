"""What is published about the objects: Objaverse 1.0's metadata and XL's tables, one part in memory at a time."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from fourreal.datagen.objaverse import package
from fourreal.datagen.objaverse.cache import Cache
from fourreal.datagen.objaverse.licences import spdx_of
from fourreal.datagen.objaverse.verify import check_json_gz, check_parquet

Wanted = Callable[[str], bool]
"""Whether a uid is worth reading about."""

_XL_SOURCES = ("github", "smithsonian")
"""Of XL, beside Sketchfab, that have .glb files; Thingiverse has shapes without colour or motion."""
_COLUMNS = ["fileIdentifier", "license", "fileType", "sha256", "metadata"]


@dataclass(frozen=True)
class Published:
    """One object, as its annotations describe it."""

    uid: str
    name: str
    """Of its file, in the folder of downloads."""
    address: str
    sha256: str = ""
    licence: str = ""
    """SPDX identifier where there is one."""
    title: str = ""
    author: str = ""
    url: str = ""
    """Page for people."""
    animations: int | None = None
    """None: not known."""
    tags: frozenset[str] = frozenset()
    """In lower case, as they read and as they stand in addresses."""


def first_objects(cache: Cache, wanted: Wanted, sha256_of: Mapping[str, str] | None = None) -> Iterator[Published]:
    """Objects of Objaverse 1.0 (Sketchfab), with their checksums where `sha256_of` knows them.

    Raises DownloadFailure when the metadata does not come.
    """
    cache.get(package.OBJECT_PATHS, package.address_of(package.OBJECT_PATHS), check_json_gz)
    paths: dict[str, dict[str, str]] = defaultdict(dict)
    for uid, path in package.read_object_paths(cache.folder).items():
        if wanted(uid):
            paths[path.split("/")[1]][uid] = path
    names = [f"{package.FIRST}/metadata/{folder}.json.gz" for folder in sorted(paths)]
    with ThreadPoolExecutor(cache.downloads.parallel) as threads:
        list(threads.map(lambda name: cache.get(name, package.address_of(name), check_json_gz), names))
    for name, folder in zip(names, sorted(paths), strict=True):
        with gzip.open(cache.path(name), "rb") as stream:
            metadata = json.load(stream)
        for uid, path in paths[folder].items():
            if uid in metadata:
                yield _first_object(uid, path, metadata[uid], (sha256_of or {}).get(uid, ""))


def _first_object(uid: str, path: str, metadata: Mapping[str, Any], sha256: str) -> Published:
    user = metadata.get("user") or {}
    tags = [text for tag in metadata.get("tags") or () for text in (tag.get("name"), tag.get("slug")) if text]
    name = f"{package.FIRST}/{path}"
    return Published(
        uid=uid,
        name=name,
        address=package.address_of(name),
        sha256=sha256,
        licence=spdx_of(metadata.get("license")),
        title=metadata.get("name") or "",
        author=user.get("displayName") or user.get("username") or "",
        url=metadata.get("viewerUrl") or metadata.get("uri") or "",
        animations=metadata.get("animationCount"),
        tags=frozenset(tag.lower() for tag in tags),
    )


def xl_objects(cache: Cache, wanted: Wanted) -> Iterator[Published]:
    """Objects of Objaverse-XL that are .glb files: Sketchfab's with all that 1.0 says of them, GitHub's, Smithsonian's.

    The same file under several addresses counts once: one that Sketchfab has too is Sketchfab's, whether or not that
    object is wanted, since under a second uid it could be on both sides of a split. Raises DownloadFailure when a table
    does not come.
    """
    sha256_of: dict[str, str] = {}
    seen: set[str] = set()
    for row in _rows(cache, "sketchfab"):
        seen.add(row["sha256"])
        if wanted(uid := package.sketchfab_uid(row["fileIdentifier"])):
            sha256_of[uid] = row["sha256"]
    yield from first_objects(cache, sha256_of.__contains__, sha256_of)
    for source in _XL_SOURCES:
        for row in _rows(cache, source):
            if row["fileType"] == "glb" and row["sha256"] not in seen and wanted(row["sha256"]):
                seen.add(row["sha256"])
                yield _xl_object(source, row)


def _xl_object(source: str, row: Mapping[str, str]) -> Published:
    identifier = row["fileIdentifier"]
    uid, name, address = package.place_of(source, identifier, row["sha256"])
    metadata = json.loads(row["metadata"] or "{}")
    owner = "/".join(identifier.split("/")[3:5]) if source == "github" else "Smithsonian Institution"
    return Published(
        uid=uid,
        name=name,
        address=address,
        sha256=row["sha256"],
        licence=spdx_of(row["license"]),
        title=str(metadata.get("title") or identifier.rpartition("/")[2]),
        author=owner,
        url=identifier,
    )


def _rows(cache: Cache, source: str) -> Iterator[dict[str, str]]:
    name, address = package.table_of(source)
    path = cache.get(name, address, check_parquet)
    with pq.ParquetFile(path) as table:
        columns = [column for column in _COLUMNS if column in table.schema_arrow.names]
        for batch in table.iter_batches(columns=columns):
            yield from batch.to_pylist()
