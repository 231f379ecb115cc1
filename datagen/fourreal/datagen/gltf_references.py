"""Whether all that a glTF document points at is there, and whether its nodes are trees."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from fourreal.datagen.gltf_file import BadGltf

MAX_ENTRIES = 200_000
"""Of one list: nodes, meshes, accessors."""

Reference = tuple[str, object, str]
"""Who points, at which number, of which list."""


def check_references(document: dict[str, Any]) -> None:
    """Raise BadGltf (too_large, bad_reference, cyclic_nodes, nan_geometry), or TypeError and such for wrong types."""
    for name, entries in document.items():
        if isinstance(entries, list) and len(entries) > MAX_ENTRIES:
            raise BadGltf("too_large", f"{len(entries)} {name}, more than {MAX_ENTRIES}")
    for who, number, name in _references(document):
        count = len(document.get(name, []))
        # A negative number would quietly count from the end.
        if number is not None and (type(number) is not int or not 0 <= number < count):
            raise BadGltf("bad_reference", f"{who} points at number {number!r} of {count} {name}")
    _check_nodes(document.get("nodes", []))


def _references(document: dict[str, Any]) -> Iterator[Reference]:
    yield "the document", document.get("scene"), "scenes"
    for scene in document.get("scenes", []):
        yield from (("a scene", n, "nodes") for n in scene.get("nodes", []))
    for node in document.get("nodes", []):
        yield "a node", node.get("mesh"), "meshes"
        yield "a node", node.get("skin"), "skins"
        yield "a node", node.get("camera"), "cameras"
        yield from (("a node", n, "nodes") for n in node.get("children", []))
    for skin in document.get("skins", []):
        yield "a skin", skin.get("inverseBindMatrices"), "accessors"
        yield "a skin", skin.get("skeleton"), "nodes"
        yield from (("a skin", n, "nodes") for n in skin["joints"])
    yield from _references_of_data(document)
    yield from _references_of_looks(document)
    for accessor in document.get("accessors", []):
        sparse = accessor.get("sparse", {"indices": {}, "values": {}})
        for holder in (accessor, sparse["indices"], sparse["values"]):
            yield "an accessor", holder.get("bufferView"), "bufferViews"
    for view in document.get("bufferViews", []):
        yield "a buffer view", view["buffer"], "buffers"


def _references_of_data(document: dict[str, Any]) -> Iterator[Reference]:
    for mesh in document.get("meshes", []):
        for primitive in mesh["primitives"]:
            yield "a mesh", primitive.get("indices"), "accessors"
            yield "a mesh", primitive.get("material"), "materials"
            for attributes in (primitive["attributes"], *primitive.get("targets", [])):
                yield from (("a mesh", n, "accessors") for n in attributes.values())
    for animation in document.get("animations", []):
        for channel in animation["channels"]:
            yield "an animation", channel["target"].get("node"), "nodes"
            if not 0 <= channel["sampler"] < len(animation["samplers"]):
                raise BadGltf("bad_reference", f"an animation has no sampler {channel['sampler']}")
        for sampler in animation["samplers"]:
            yield from (("an animation", sampler[end], "accessors") for end in ("input", "output"))


def _references_of_looks(document: dict[str, Any]) -> Iterator[Reference]:
    for material in document.get("materials", []):
        for holder in (material, material.get("pbrMetallicRoughness", {})):
            yield from (
                ("a material", value["index"], "textures") for key, value in holder.items() if key.endswith("Texture")
            )
    for texture in document.get("textures", []):
        yield "a texture", texture.get("source"), "images"
        yield "a texture", texture.get("sampler"), "samplers"
        yield "a texture", texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source"), "images"
    for image in document.get("images", []):
        yield "an image", image.get("bufferView"), "bufferViews"


def _check_nodes(nodes: list[dict[str, Any]]) -> None:
    for node in nodes:
        numbers = [x for key in ("matrix", "translation", "rotation", "scale") for x in node.get(key, [])]
        if not all(math.isfinite(x) for x in numbers):
            raise BadGltf("nan_geometry", "a node's place holds values that are no finite numbers")
    children = [child for node in nodes for child in node.get("children", [])]
    if len(set(children)) < len(children):
        raise BadGltf("cyclic_nodes", "a node has two parents")
    reached = list(set(range(len(nodes))).difference(children))
    for number in reached:  # grows while it is walked; each node comes once, having one parent at most
        reached += nodes[number].get("children", [])
    if len(reached) < len(nodes):
        raise BadGltf("cyclic_nodes", "a node is its own descendant")
