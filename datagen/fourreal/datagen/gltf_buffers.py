"""The bytes that a glTF document points at, in the file itself, in data: addresses and in files beside it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from fourreal.datagen.gltf_file import BadGltf, split_gltf

MAX_FILE_BYTES = 2 * 2**30
"""Of one file, the asset itself or one that it points at."""
MAX_ELEMENTS = 2**27
"""Entries of one accessor, and of all accessors together that no bytes stand behind."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


def read_file(path: Path) -> bytes:
    """A whole file. Raises BadGltf: missing_file for what is no regular file (reading a FIFO would wait), too_large."""
    if not path.is_file():
        raise BadGltf("missing_file", f"there is no file {path.name}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BadGltf("too_large", f"{path.name} has more than {MAX_FILE_BYTES // 2**20} MiB")
    return path.read_bytes()


def addresses_of(data: bytes) -> list[str]:
    """The files beside a .glb or .gltf file that it points at: paths inside its folder, `/` between their parts.

    Addresses that leave the folder, and files that cannot be read, are left to `check_gltf`.
    """
    found: dict[str, None] = {}  # in order
    try:
        document = split_gltf(data)[0]
        entries = [*document.get("buffers", []), *document.get("images", [])]
        uris = [entry["uri"] for entry in entries if isinstance(entry.get("uri"), str)]
    except (BadGltf, TypeError, AttributeError):
        return []
    for uri in uris:
        with contextlib.suppress(BadGltf, UnicodeError):
            name = _relative(uri)
            name.encode()  # JSON can hold halves of surrogate pairs
            found.setdefault(name)
    return list(found)


def _relative(uri: str) -> str:
    """The path inside the asset's folder that Blender's importer would make of an address. Raises BadGltf."""
    name = os.path.normpath(unquote(uri.replace("\\", "/")))
    # Also refuses data: without base64, which the importer takes for a path.
    if _SCHEME.match(uri) or _SCHEME.match(name) or name.startswith(("/", "..")) or "\0" in name:
        raise BadGltf("external_uri", f"{uri[:200]!r} is no path inside the asset's folder")
    return name


class Buffers:
    """Reads what a document whose references are sound points at. Methods raise BadGltf."""

    def __init__(self, document: dict[str, Any], binary: bytes, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self._loaded: dict[int, bytes] = {}
        self._binary = binary

    def resource(self, uri: str) -> bytes:
        """What an address stands for. Raises BadGltf: external_uri, missing_file, too_large, bad_accessor."""
        self.check_address(uri)
        if uri.startswith("data:"):
            try:
                return base64.b64decode(uri.partition(";base64,")[2])
            except binascii.Error as error:
                raise BadGltf("bad_accessor", f"a data address cannot be read: {error}") from None
        return read_file(self._inside(uri))

    def check_address(self, uri: str) -> None:
        """Raise BadGltf (external_uri) for an address that leaves the asset's folder, used or not."""
        if not (uri.startswith("data:") and ";base64," in uri):
            self._inside(uri)

    def _inside(self, uri: str) -> Path:
        """The path that Blender's importer would make of an address, if it is in the asset's folder."""
        name = _relative(uri)
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise BadGltf("external_uri", f"{uri[:200]!r} is a link out of the asset's folder")
        return path

    def view(self, number: int) -> bytes:
        """The bytes of a buffer view, as far as its buffer goes."""
        view = self.document["bufferViews"][number]
        buffer = view["buffer"]
        if buffer not in self._loaded:
            uri = self.document["buffers"][buffer].get("uri")
            self._loaded[buffer] = self._binary if uri is None else self.resource(uri)
        start = _natural(view.get("byteOffset", 0), "byteOffset")
        length = _natural(view["byteLength"], "byteLength")
        return self._loaded[buffer][start : start + length]

    def accessor(self, number: int) -> npt.NDArray[Any] | None:
        """Its entries `[N, C]` without what `sparse` replaces; None where no bytes stand behind it."""
        accessor = self.document["accessors"][number]
        count = _natural(accessor["count"], "count")
        if count > MAX_ELEMENTS:
            raise BadGltf("too_large", f"accessor {number} has {count} entries, more than {MAX_ELEMENTS}")
        if accessor.get("componentType") not in _TYPES or accessor.get("type") not in _WIDTHS:
            raise BadGltf("bad_accessor", f"accessor {number} is of no known type")
        if (sparse := accessor.get("sparse")) is not None:
            self._check_sparse(accessor, sparse, count)
        return self._entries(accessor, count) if accessor.get("bufferView") is not None else None

    def sparse_values(self, number: int) -> npt.NDArray[Any] | None:
        """What `sparse` puts in the place of some entries of a sound accessor."""
        accessor = self.document["accessors"][number]
        sparse = accessor.get("sparse")
        return None if sparse is None else self._entries(accessor | sparse["values"], sparse["count"])

    def _check_sparse(self, accessor: dict[str, Any], sparse: dict[str, Any], count: int) -> None:
        few = _natural(sparse["count"], "sparse count")
        if few > count or sparse["indices"]["componentType"] not in (5121, 5123, 5125):
            raise BadGltf("bad_accessor", f"a sparse accessor replaces {few} entries of {count}")
        places = self._entries({"type": "SCALAR", **sparse["indices"]}, few)
        if few and int(places.max()) >= count:
            raise BadGltf("bad_accessor", f"a sparse accessor replaces entry {places.max()} of {count}")
        self._entries(accessor | sparse["values"], few)

    def _entries(self, accessor: dict[str, Any], count: int) -> npt.NDArray[Any]:
        data = self.view(accessor["bufferView"])
        kind, width = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        start = _natural(accessor.get("byteOffset", 0), "byteOffset")
        size = kind.itemsize * width
        stride = self.document["bufferViews"][accessor["bufferView"]].get("byteStride") or size
        if _natural(stride, "byteStride") < size or stride % kind.itemsize:
            raise BadGltf("bad_accessor", f"entries of {size} bytes cannot lie {stride} bytes apart")
        if count and start + (count - 1) * stride + size > len(data):
            raise BadGltf("bad_accessor", f"{count} entries of {size} bytes do not fit in {len(data)} bytes")
        if not count:
            return np.empty((0, width), kind)
        return np.ndarray((count, width), kind, data, start, (stride, kind.itemsize))


def _natural(value: object, what: str) -> int:
    if type(value) is not int or value < 0:
        raise BadGltf("bad_accessor", f"{what} is {value!r}")
    return value
