"""Files that nobody should import: broken and hostile variants of one small textured, moving cube.

Each comes with the reasons it may end with; `None` among them means that it may render.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from tests.datagen.glb import CUBE, Glb

Document = dict[str, Any]
HUGE = 2**31


@dataclass(frozen=True)
class Hostile:
    """A file, how it may end, and whether only Blender can tell."""

    path: Path
    reasons: tuple[str | None, ...]
    reaches_blender: bool = False


def png(width: int = 4, height: int = 4, pixels: bytes | None = None, extra: bytes = b"") -> bytes:
    """A red image, or what its header says and `pixels` (deflated) do not hold."""
    if pixels is None:
        pixels = zlib.compress((b"\0" + b"\xff\0\0" * width) * height, 9)
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + _png_chunk(b"IDAT", pixels) + _png_chunk(b"IEND", b"")


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sound(image: bytes | None = None, vertices: Any = CUBE) -> Glb:
    """Textured cube that slides for a second; the image is the last of the binary chunk."""
    glb = Glb()
    texture = {"index": glb.add("textures", {"source": 0})}
    material = glb.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": texture}})
    glb.animate("slide", glb.node(vertices, material=material), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    attributes = glb.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["TEXCOORD_0"] = glb.accessor(CUBE[:, :2] / 2 + 0.5, "VEC2")
    data = png() if image is None else image
    view = glb.add("bufferViews", {"buffer": 0, "byteOffset": len(glb.binary), "byteLength": len(data)})
    glb.binary += data
    glb.add("images", {"bufferView": view, "mimeType": "image/png"})
    glb.document |= {"scenes": [{"nodes": [0]}], "scene": 0, "buffers": [{"byteLength": len(glb.binary)}]}
    return glb


def pack(document: Document | bytes, binary: bytes, magic: bytes = b"glTF", version: int = 2, grow: int = 0) -> bytes:
    """A .glb file; `grow` is added to the length that it states."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return magic + struct.pack("<II", version, 12 + len(chunks) + grow) + chunks


def hostile_files(folder: Path, outside: Path, url: str) -> list[Hostile]:
    """Write them all into `folder`. `outside` is a .bin and a .png file elsewhere, without its ending."""
    makers = (_truncated, _bad_containers, _bad_json, _bad_documents, _bad_numbers, _bad_images, _no_files)
    found = [hostile for maker in makers for hostile in maker(folder)]
    return [*found, *_addresses(folder, outside, url), *_for_blender(folder)]


def _write(folder: Path, name: str, data: bytes, *reasons: str | None, reaches_blender: bool = False) -> Hostile:
    path = folder / name
    path.write_bytes(data)
    return Hostile(path, reasons, reaches_blender)


def _truncated(folder: Path) -> Iterator[Hostile]:
    glb = sound()
    data = pack(glb.document, glb.binary)
    binary = len(data) - len(glb.binary) - -len(glb.binary) % 4
    for keep in (0, 3, 4, 8, 11, 12, 16, 19, 20, 100, binary - 8, binary - 4, binary, binary + 40, len(data) - 1):
        yield _write(folder, f"truncated-{keep}.glb", data[:keep], "truncated")
    shorter = data[: binary - 8]  # a sound container again, whose buffer is missing
    stated = shorter[:8] + struct.pack("<I", len(shorter)) + shorter[12:]
    yield _write(folder, "no-binary.glb", stated, "bad_accessor")


def _bad_containers(folder: Path) -> Iterator[Hostile]:
    glb = sound()
    data = pack(glb.document, glb.binary)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("bomb", bytes(2**20))
    for name, content, reason in (
        ("magic", b"GLTF" + data[4:], "bad_header"),
        ("version-1", pack(glb.document, glb.binary, version=1), "bad_header"),
        ("version-huge", pack(glb.document, glb.binary, version=HUGE), "bad_header"),
        ("too-long", pack(glb.document, glb.binary, grow=4), "truncated"),
        ("too-short", pack(glb.document, glb.binary, grow=-4), "bad_header"),
        ("trailing", data + b"more", "bad_header"),
        ("length-huge", pack(glb.document, glb.binary, grow=HUGE), "truncated"),
        ("json-huge", data[:12] + struct.pack("<I", HUGE) + data[16:], "truncated"),
        ("json-length-0", data[:12] + bytes(4) + data[16:], "bad_json"),
        ("binary-first", data[:16] + b"BIN\0" + data[20:], "bad_header"),
        ("binary-other", data.replace(b"BIN\0", b"NIB\0"), "bad_accessor"),
        ("really-png", png(), "bad_header"),
        ("really-text", b"Not found", "bad_header"),
        ("really-html", b"<!DOCTYPE html>", "bad_header"),
        ("really-zip", archive.getvalue(), "bad_header"),
        ("zeros", bytes(4096), "bad_header"),
    ):
        yield _write(folder, f"{name}.glb", content, reason)


def _bad_json(folder: Path) -> Iterator[Hostile]:
    deep = b'{"asset":{"version":"2.0"},"extras":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    for name, text in (
        ("array", b"[1, 2]"),
        ("number", b"7"),
        ("latin1", '{"asset": {"version": "2.0", "copyright": "é"}}'.encode("latin-1")),
        ("utf16", '{"asset": {}}'.encode("utf-16")),
        ("deep", deep),
        ("cut", b'{"asset": {"version": '),
        ("nan", b'{"asset": {"version": "2.0"}, "extras": NaN}'),
        ("digits", b'{"asset": {"version": "2.0"}, "scene": ' + b"9" * 5000 + b"}"),
        ("empty", b"{}"),
    ):
        yield _write(folder, f"json-{name}.glb", pack(text, b"1234"), "bad_json")
    yield _write(folder, "json-deep.gltf", deep, "bad_json")


def _changed(place: str, value: Any) -> bytes:
    """The sound file with one entry set; `place` as in `accessors.0.count`."""
    glb = sound()
    document = copy.deepcopy(glb.document)
    *way, last = [int(step) if step.isdecimal() else step for step in place.split(".")]
    reduce(lambda holder, step: holder[step], way, document)[last] = value  # type: ignore[index]
    return pack(document, glb.binary)


def _bad_documents(folder: Path) -> Iterator[Hostile]:
    position, times = "accessors.0", "accessors.2"
    for name, place, value, reason in (
        ("gltf-1", "asset.version", "1.0", "bad_header"),
        ("nodes-number", "nodes", 7, "bad_json"),
        ("mesh-text", "nodes.0.mesh", "0", "bad_reference"),
        ("mesh-none", "nodes.0.mesh", 5, "bad_reference"),
        ("mesh-negative", "nodes.0.mesh", -1, "bad_reference"),
        ("skin-none", "nodes.0.skin", 0, "bad_reference"),
        ("child-none", "nodes.0.children", [HUGE], "bad_reference"),
        ("child-itself", "nodes.0.children", [0], "cyclic_nodes"),
        ("joint-none", "skins", [{"joints": [9]}], "bad_reference"),
        ("scene-none", "scene", 3, "bad_reference"),
        ("root-none", "scenes.0.nodes", [-1], "bad_reference"),
        ("material-none", "meshes.0.primitives.0.material", 1, "bad_reference"),
        ("texture-none", "materials.0.pbrMetallicRoughness.baseColorTexture.index", 1, "bad_reference"),
        ("image-none", "textures.0.source", 1, "bad_reference"),
        ("animated-none", "animations.0.channels.0.target.node", 9, "bad_reference"),
        ("sampler-none", "animations.0.channels.0.sampler", 9, "bad_reference"),
        ("keys-none", "animations.0.samplers.0.input", 99, "bad_reference"),
        ("view-none", f"{position}.bufferView", 99, "bad_reference"),
        ("buffer-none", "bufferViews.0.buffer", 1, "bad_reference"),
        ("count-over", f"{position}.count", 1000, "bad_accessor"),
        ("count-negative", f"{position}.count", -8, "bad_accessor"),
        ("count-fraction", f"{position}.count", 7.5, "bad_accessor"),
        ("count-huge", f"{position}.count", HUGE, "too_large"),
        ("count-beyond", f"{position}.count", 10**30, "too_large"),
        ("offset-over", f"{position}.byteOffset", 10**6, "bad_accessor"),
        ("offset-negative", f"{position}.byteOffset", -4, "bad_accessor"),
        ("component", f"{position}.componentType", 5124, "bad_accessor"),
        ("component-wide", "accessors.3.componentType", 5130, "bad_accessor"),
        ("type", f"{position}.type", "VEC9", "bad_accessor"),
        ("type-wide", f"{times}.type", "MAT4", "bad_accessor"),
        ("view-negative", "bufferViews.0.byteOffset", -96, "bad_accessor"),
        ("view-short", "bufferViews.0.byteLength", 20, "bad_accessor"),
        ("stride-over", "bufferViews.0.byteStride", 252, "bad_accessor"),
        ("stride-small", "bufferViews.0.byteStride", 4, "bad_accessor"),
        ("stride-odd", "bufferViews.0.byteStride", 13, "bad_accessor"),
        ("meshopt", "extensionsRequired", ["EXT_meshopt_compression"], "unsupported_extension"),
        ("invented", "extensionsRequired", ["XYZ_runs_code"], "unsupported_extension"),
        ("place-infinite", "nodes.0.translation", [1e999, 0, 0], "bad_json"),
        ("many-nodes", "nodes", [{}] * 200_001, "too_large"),
    ):
        yield _write(folder, f"{name}.glb", _changed(place, value), reason)
    place_inf = _changed("nodes.0.translation", [123456789, 0, 0]).replace(b"123456789", b"1e9999999")
    yield _write(folder, "place-1e9999999.glb", place_inf, "nan_geometry")
    ring = [{"children": [1]}, {"children": [2]}, {"children": [0]}]
    yield _write(folder, "ring.glb", _changed("nodes", ring), "cyclic_nodes")
    diamond = [{"mesh": 0, "children": [1, 2]}, {"children": [3]}, {"children": [3]}, {}]
    yield _write(folder, "diamond.glb", _changed("nodes", diamond), "cyclic_nodes")


def _bad_numbers(folder: Path) -> Iterator[Hostile]:
    for name, number in (("nan", np.nan), ("inf", np.inf)):
        vertices = CUBE.copy()
        vertices[5, 1] = number
        glb = sound(vertices=vertices)
        glb.document["accessors"][0] |= {"min": [-1, -1, -1], "max": [1, 1, 1]}
        yield _write(folder, f"position-{name}.glb", pack(glb.document, glb.binary), "nan_geometry")
    for name, number, reason in (("nan", np.nan, "nan_geometry"), ("late", 1e30, "too_large")):
        glb = sound()
        view = glb.document["bufferViews"][glb.document["accessors"][2]["bufferView"]]
        at = view["byteOffset"] + 4
        binary = glb.binary[:at] + struct.pack("<f", number) + glb.binary[at + 4 :]
        yield _write(folder, f"key-{name}.glb", pack(glb.document, binary), reason)
    glb = sound()
    start = glb.document["bufferViews"][1]["byteOffset"]
    binary = glb.binary[:start] + struct.pack("<I", 4_000_000_000) + glb.binary[start + 4 :]
    yield _write(folder, "corner-none.glb", pack(glb.document, binary), "bad_accessor")
    sparse = {"indices": {"bufferView": 1, "componentType": 5125}, "values": {"bufferView": 0}}
    for name, count, reason in (("many", 9, "bad_accessor"), ("negative", -1, "bad_accessor")):
        yield _write(folder, f"sparse-{name}.glb", _changed("accessors.0.sparse", {"count": count, **sparse}), reason)
    away = {"count": 2, "indices": {"bufferView": 0, "componentType": 5125}, "values": {"bufferView": 0}}
    yield _write(folder, "sparse-away.glb", _changed("accessors.0.sparse", away), "bad_accessor")
    glb = sound()
    for _ in range(200):
        glb.add("accessors", {"componentType": 5126, "type": "SCALAR", "count": 10**6})
    yield _write(folder, "zeros-made.glb", pack(glb.document, glb.binary), "too_large")


def _bad_images(folder: Path) -> Iterator[Hostile]:
    for name, data, reason in (
        ("claim", png(100_000, 100_000, b"little"), "bad_image"),
        ("claim-filled", png(100_000, 100_000, bytes(30 * 2**20)), "too_large"),
        ("flat", png(0, 4, b""), "bad_image"),
        ("text", b"#EXTM3U\nfile:///etc/passwd\n", "bad_image"),
        ("svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', "bad_image"),
        ("exr", b"\x76\x2f\x31\x01" + bytes(60), "bad_image"),
        ("cut-header", png()[:20], "bad_image"),
        ("jpeg-loop", b"\xff\xd8\xff\xe0\0\0" + bytes(50), "bad_image"),
        ("jpeg-cut", b"\xff\xd8\xff\xe0\xff\xff", "bad_image"),
        ("empty", b"", "bad_image"),
    ):
        glb = sound(data)
        yield _write(folder, f"image-{name}.glb", pack(glb.document, glb.binary), reason)


def _addresses(folder: Path, outside: Path, url: str) -> Iterator[Hostile]:
    """The sound file, whose buffer or image is said to be elsewhere: `outside` holds both, so it would render."""
    climb = os.path.relpath(outside, folder)
    link = folder / "link"
    link.symlink_to(outside.parent)
    for name, stem in (
        ("absolute", str(outside)),
        ("file", f"file://{outside}"),
        ("climb", climb),
        ("climb-later", f"deeper/../{climb}"),
        ("climb-coded", climb.replace("..", "%2e%2e").replace("/", "%2F")),
        ("climb-backslash", climb.replace("/", "\\")),
        ("climb-data", f"data:x/../{climb}"),
        ("http", f"{url}/{outside.name}"),
        ("no-scheme", url.removeprefix("http:") + f"/{outside.name}"),
        ("link", f"{link.name}/{outside.name}"),
    ):
        for what, ending in (("buffers", ".bin"), ("images", ".png")):
            glb = sound()
            entry = {"uri": stem + ending}
            glb.document[what] = [entry | ({"byteLength": len(glb.binary)} if what == "buffers" else {})]
            yield _write(folder, f"{name}-{what}.glb", pack(glb.document, glb.binary), "external_uri")
    os.mkfifo(folder / "pipe.bin")
    with (folder / "sparse.bin").open("wb") as stream:
        stream.truncate(2**40)
    for name, uri, reason in (
        ("itself-a-pipe", "pipe.bin", "missing_file"),
        ("itself-gone", "gone.bin", "missing_file"),
        ("itself-terabyte", "sparse.bin", "too_large"),
        ("itself-folder", ".", "missing_file"),
        ("nul", "a%00.bin", "external_uri"),
        ("garbage", "data:application/octet-stream;base64,A", "bad_accessor"),
        ("short", "data:application/octet-stream;base64,AAAA", "bad_accessor"),
    ):
        glb = sound()
        glb.document["buffers"] = [{"byteLength": len(glb.binary), "uri": uri}]
        yield _write(folder, f"{name}.glb", pack(glb.document, glb.binary), reason)


def _no_files(folder: Path) -> Iterator[Hostile]:
    (folder / "folder.glb").mkdir()
    os.mkfifo(folder / "pipe.glb")
    (folder / "loop.glb").symlink_to(folder / "loop.glb")
    yield from (
        Hostile(folder / name, ("missing_file",)) for name in ("folder.glb", "pipe.glb", "loop.glb", "gone.glb")
    )


def _for_blender(folder: Path) -> Iterator[Hostile]:
    """What looks sound from outside."""

    def put(name: str, data: bytes, *reasons: str | None) -> Hostile:
        return _write(folder, name, data, *reasons, reaches_blender=True)

    def put_image(name: str, data: bytes, *reasons: str | None) -> Hostile:
        glb = sound(data)
        return put(name, pack(glb.document, glb.binary), *reasons)

    bomb = zlib.compress(bytes(64 * 2**20), 9)
    yield put_image("image-large.glb", png(8192, 8192), None)
    yield put_image("image-deflate-bomb.glb", png(8, 8, bomb), None, "import_error")
    yield put_image("image-text-bomb.glb", png(extra=_png_chunk(b"zTXt", b"k\0\0" + bomb)), None, "import_error")
    yield put_image("image-cut.glb", png()[:-30], None, "import_error")
    glb = sound()
    nodes = [{"mesh": 0, "children": [1]}, *({"children": [n + 1]} for n in range(1, 3000)), {}]
    yield put("chain.glb", _changed("nodes", nodes), None, "import_error")
    extension = {"bomb": base64.b64encode(bomb).decode()}
    yield put("extension-bomb.glb", _changed("extensions", {"XYZ_zip": extension}), None)
    draco = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    glb.document |= {"extensionsRequired": [*draco], "extensionsUsed": [*draco]}
    glb.document["meshes"][0]["primitives"][0]["extensions"] = draco
    yield put("draco-garbage.glb", pack(glb.document, glb.binary), "import_error", "no_meshes", None)
    yield put("no-animation.glb", _changed("animations", []), "no_animation")
    yield put("no-meshes.glb", _changed("nodes", [{}]), "no_meshes")
    yield put("far.glb", _changed("nodes.0.scale", [1e30, 1e30, 1e30]), None, "nan_geometry")
    yield put("mode.glb", _changed("meshes.0.primitives.0.mode", 99), None, "import_error", "no_meshes")
