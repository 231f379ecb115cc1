"""Refuses a hostile or broken glTF file before Blender sees it.

Blender's importer trusts a file: it opens any path that the file names, takes negative numbers for entries counted
from the end, makes as many zeros as an accessor asks for, and puts vertices that are no numbers at the origin.
What passes here may still fail in Blender, under the limits of its process.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from fourreal.datagen.gltf_buffers import MAX_ELEMENTS, Buffers, read_file
from fourreal.datagen.gltf_file import BadGltf, split_gltf
from fourreal.datagen.gltf_images import count_pixels
from fourreal.datagen.gltf_references import check_references

MAX_PIXELS = 2**28
"""Of all textures together: Blender takes about 15 bytes for each."""
MAX_TIME_S = 17_000.0
"""Of a key: Blender has 1,048,574 frames, and the importer makes 60 of a second."""
_DRACO = "KHR_draco_mesh_compression"
_IMPORTED_EXTENSIONS = frozenset(
    [
        *("EXT_mesh_gpu_instancing", "EXT_texture_webp", "KHR_animation_pointer", _DRACO, "KHR_lights_punctual"),
        *("KHR_materials_anisotropy", "KHR_materials_clearcoat", "KHR_materials_emissive_strength"),
        *("KHR_materials_ior", "KHR_materials_pbrSpecularGlossiness", "KHR_materials_sheen"),
        *("KHR_materials_specular", "KHR_materials_transmission", "KHR_materials_unlit", "KHR_materials_variants"),
        *("KHR_materials_volume", "KHR_mesh_quantization", "KHR_texture_transform"),
    ]
)
"""`extensions_managed` of the importer in Blender 4.5."""


def check_gltf(path: Path) -> dict[str, Any]:
    """Raise BadGltf for a file that must not be imported; returns the document of a sound one.

    Nothing outside the file's folder is read.
    """
    document, binary = split_gltf(read_file(path))
    try:
        _check_asset(document)
        check_references(document)
        buffers = Buffers(document, binary, path.parent)
        _check_addresses(buffers)
        _check_accessors(buffers)
        _check_meshes(buffers)
        _check_animations(buffers)
        _check_textures(buffers)
    except BadGltf:
        raise
    except OSError as error:
        raise BadGltf("missing_file", f"a file that the asset points at cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError, struct.error) as error:
        raise BadGltf("bad_json", f"the document is no glTF: {type(error).__name__}: {error}") from None
    return document


def _check_asset(document: dict[str, Any]) -> None:
    if document["asset"]["version"] != "2.0":
        raise BadGltf("bad_header", f"glTF of version {document['asset']['version']!r}, not 2.0")
    unknown = sorted(set(document.get("extensionsRequired", [])) - _IMPORTED_EXTENSIONS)
    if unknown:
        raise BadGltf("unsupported_extension", f"the file needs {', '.join(unknown)[:200]}")


def _check_addresses(buffers: Buffers) -> None:
    for name in ("buffers", "images"):
        for entry in buffers.document.get(name, []):
            if "uri" in entry:
                buffers.check_address(entry["uri"])


def _check_accessors(buffers: Buffers) -> None:
    compressed = {number for p in _primitives(buffers.document) if _is_compressed(p) for number in _accessors_of(p)}
    unbacked = 0
    for number, accessor in enumerate(buffers.document.get("accessors", [])):
        if buffers.accessor(number) is None and number not in compressed:
            unbacked += accessor["count"]
    if unbacked > MAX_ELEMENTS:
        raise BadGltf("too_large", f"{unbacked} entries of accessors without data, more than {MAX_ELEMENTS}")


def _check_meshes(buffers: Buffers) -> None:
    for primitive in _primitives(buffers.document):
        for attributes in (primitive["attributes"], *primitive.get("targets", [])):
            if "POSITION" in attributes:
                _check_finite(buffers, attributes["POSITION"], "vertex positions")
        if "indices" in primitive and "POSITION" in primitive["attributes"]:
            count = buffers.document["accessors"][primitive["attributes"]["POSITION"]]["count"]
            corners = buffers.accessor(primitive["indices"])
            if corners is not None and corners.size and int(corners.max()) >= count:
                raise BadGltf("bad_accessor", f"a triangle has vertex {corners.max()} of {count}")


def _check_animations(buffers: Buffers) -> None:
    for number in {s["input"] for a in buffers.document.get("animations", []) for s in a["samplers"]}:
        _check_finite(buffers, number, "key times")
        times_s = buffers.accessor(number)
        if times_s is not None and times_s.size and float(np.abs(times_s).max()) > MAX_TIME_S:
            raise BadGltf("too_large", f"an animation has a key at {np.abs(times_s).max():g} s")


def _check_textures(buffers: Buffers) -> None:
    images: set[int | None] = set()
    for texture in buffers.document.get("textures", []):
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
        images |= {texture.get("source"), webp.get("source")}
    pixels = 0
    for number in sorted(image for image in images if image is not None):
        image = buffers.document["images"][number]
        data = buffers.resource(image["uri"]) if "uri" in image else buffers.view(image["bufferView"])
        pixels += count_pixels(data)
        if pixels > MAX_PIXELS:
            raise BadGltf("too_large", f"textures of {pixels} pixels, more than {MAX_PIXELS}")


def _check_finite(buffers: Buffers, number: int, what: str) -> None:
    for values in (buffers.accessor(number), buffers.sparse_values(number)):
        if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BadGltf("nan_geometry", f"the file holds {what} that are no numbers")


def _primitives(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [primitive for mesh in document.get("meshes", []) for primitive in mesh["primitives"]]


def _is_compressed(primitive: dict[str, Any]) -> bool:
    return _DRACO in primitive.get("extensions", {})


def _accessors_of(primitive: dict[str, Any]) -> list[int]:
    return [*primitive["attributes"].values(), *([primitive["indices"]] if "indices" in primitive else [])]
