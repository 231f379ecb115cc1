"""Reads a glTF 2.0 file without Blender (specification: registry.khronos.org/glTF); what it says about itself."""

from __future__ import annotations

import json
import struct
from typing import Any, Literal

from fourreal.platform.errors import shortened

Reason = Literal[
    "bad_header",  # no glTF 2.0 at all, or lengths that do not fit
    "truncated",  # ends too early
    "bad_json",  # its document is no glTF
    "bad_reference",  # points at an entry that is not there
    "cyclic_nodes",  # its nodes are no trees
    "bad_accessor",  # data outside their buffer, or of no known type
    "nan_geometry",  # numbers that are none
    "too_large",  # counts or sizes over the limits
    "unsupported_extension",  # needs what Blender's importer lacks
    "external_uri",  # points out of its own folder
    "missing_file",  # points at a file that is not there
    "bad_image",  # a texture that is no PNG, JPEG or WebP
]

_STATED_CHARACTERS = 1000


class BadGltf(ValueError):
    """A file that must not be imported: a reason in one word, and a sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(shortened(message))
        self.reason: Reason = reason


def licence_of(data: bytes) -> str:
    """The licence that a .glb or .gltf file states about itself, "" when it states none or cannot be read.

    glTF has `asset.copyright`; Sketchfab and Objaverse files add `asset.extras.license` and `.author`.
    """
    copyright_, extras = _stated(data)
    stated = [copyright_, extras.get("license"), extras.get("author")]
    return "; ".join(dict.fromkeys(_printable(text) for text in stated if isinstance(text, str) and text))


def attribution_of(data: bytes) -> dict[str, str]:
    """Title, author and url that a .glb or .gltf file states about itself in `asset.extras`, as Sketchfab does."""
    _, extras = _stated(data)
    stated = {"title": extras.get("title"), "author": extras.get("author"), "url": extras.get("source")}
    return {name: _printable(text) for name, text in stated.items() if isinstance(text, str) and text}


def _printable(text: str) -> str:
    """Short, and without halves of surrogate pairs, which JSON can hold and no file of ours."""
    return text[:_STATED_CHARACTERS].encode(errors="replace").decode()


def _stated(data: bytes) -> tuple[object, dict[str, Any]]:
    """`asset.copyright` and `asset.extras`; nothing of a file that cannot be read."""
    try:
        asset = split_gltf(data)[0]["asset"]
        extras = asset.get("extras")
        return asset.get("copyright"), extras if isinstance(extras, dict) else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, {}


def split_gltf(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON document, and the binary chunk of a .glb file. Raises BadGltf: bad_header, truncated, bad_json."""
    if b"glTF".startswith(data[:4]) and len(data) < 12:
        raise BadGltf("truncated", f"the file ends after {len(data)} bytes")
    if not data.startswith(b"glTF"):
        if data.lstrip()[:1] not in (b"{", b"["):
            raise BadGltf("bad_header", f"neither binary glTF nor JSON: the file begins with {data[:8]!r}")
        return _document(data), b""
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise BadGltf("bad_header", f"binary glTF of version {version}, not 2")
    if len(data) < length:
        raise BadGltf("truncated", f"the file has {len(data)} bytes of {length}")
    if len(data) > length:
        raise BadGltf("bad_header", f"the file has {len(data)} bytes where its header says {length}")
    kind, text, end = _chunk(data, 12)
    if kind != b"JSON":
        raise BadGltf("bad_header", f"the first chunk is {kind!r}, not JSON")
    document = _document(text)
    if end == len(data):
        return document, b""
    kind, binary, _ = _chunk(data, end)
    return document, binary if kind == b"BIN\0" else b""


def _chunk(data: bytes, start: int) -> tuple[bytes, bytes, int]:
    """Kind, content and end of the chunk at `start`."""
    if start + 8 > len(data):
        raise BadGltf("truncated", "the file ends inside a chunk's header")
    length, kind = struct.unpack_from("<I4s", data, start)
    end = start + 8 + length
    if end > len(data):
        raise BadGltf("truncated", f"chunk {kind!r} ends {end - len(data)} bytes after the file")
    return kind, data[start + 8 : end], end


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text.decode(), parse_constant=_no_number)
    except RecursionError:
        raise BadGltf("bad_json", "the JSON is nested too deeply") from None
    except ValueError as error:
        raise BadGltf("bad_json", f"the JSON cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise BadGltf("bad_json", "the JSON is no object")
    return document


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
