"""Whether a file is whole: by its published sha256, or by what its own format promises."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fourreal.datagen.objaverse.http import DownloadFailure

Check = Callable[[Path], None]
"""Raises DownloadFailure when the file is not what it should be."""

_GLB_HEADER = struct.Struct("<4sIIII")
_JSON_CHUNK = 0x4E4F534A


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_sha256(path: Path, sha256: str) -> None:
    """A file of this sha256."""
    found = sha256_of(path)
    if found != sha256:
        raise DownloadFailure("checksum", f"{path.name} has sha256 {found}, not {sha256}", passing=True)


def check_glb(path: Path) -> None:
    """Binary glTF 2.0 that is as long as its header says and begins with a JSON document (glTF 2.0, section 4.4)."""
    size_bytes = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(_GLB_HEADER.size)
        if len(header) < _GLB_HEADER.size:
            raise DownloadFailure("truncated", f"{path.name} ends inside its header", passing=True)
        magic, version, length, json_length, kind = _GLB_HEADER.unpack(header)
        if magic != b"glTF" or version != 2 or kind != _JSON_CHUNK:
            raise DownloadFailure("not_glb", f"{path.name} does not begin as binary glTF 2.0 does", passing=True)
        if length != size_bytes or _GLB_HEADER.size + json_length > size_bytes:
            said = f"{path.name} has {size_bytes} bytes where its header says {length}"
            raise DownloadFailure("truncated", said, passing=True)
        text = stream.read(json_length)
    try:
        json.loads(text)
    except ValueError as error:
        raise DownloadFailure("not_glb", f"the JSON of {path.name} cannot be read: {error}") from None


def check_json_gz(path: Path) -> None:
    """Gzipped JSON, to its end."""
    try:
        with gzip.open(path, "rb") as stream:
            json.load(stream)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DownloadFailure("truncated", f"{path.name} cannot be read: {error}", passing=True) from None


def check_parquet(path: Path) -> None:
    """Parquet with its footer, which is written last."""
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise DownloadFailure("truncated", f"{path.name} cannot be read: {error}", passing=True) from None
