"""Outputs beside colour: values that the asset's materials write for each pixel (Cycles' AOV passes).

A pass is the mean over the same samples of a pixel as its colour, with zero where a sample hits nothing that writes.
Every written value is weighted by the surface's opacity, so a pass divided by `COVERAGE` is the mean over what is seen
of the asset in that pixel: a sample goes on behind a surface as often as the surface is clear, and adds what it finds
there. One thing differs from alpha: nothing is written behind a surface that is at least half opaque (Cycles'
`pass_alpha_threshold`, which decides about depth too).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import bpy

from fourreal.datagen.blender.surface import COVERAGE

Value = Any | float
"""A node's output socket, or a constant."""


def rendered_materials() -> list[Any]:
    """The materials of all surfaces that render now: call it before anything that is not the asset is added.

    Each surface of an imported asset has one (see `correct_materials`).
    """
    found: dict[str, Any] = {}
    for o in bpy.context.scene.objects:
        if o.type == "MESH" and not o.hide_render:
            found |= {slot.material.name: slot.material for slot in o.material_slots if slot.material is not None}
    return list(found.values())


def add_coverage(materials: Iterable[Any]) -> None:
    """Add the pass `COVERAGE`, one channel, 0 to 1: how much of the pixel is covered by surfaces of these materials."""
    add_aov(COVERAGE, "VALUE", materials, lambda tree: 1.0)


def add_aov(
    name: str, kind: Literal["VALUE", "COLOR"], materials: Iterable[Any], source: Callable[[Any], Value]
) -> None:
    """Add a pass of one channel (VALUE) or three (COLOR) with `source(node tree)`, times opacity, of each material.

    The materials' own shaders stay as they are, and so do the pixels of every other pass.
    """
    aov = bpy.context.scene.view_layers[0].aovs.add()
    aov.name, aov.type = name, kind
    for material in materials:
        tree = material.node_tree
        surface = next((n for n in tree.nodes if n.type == "OUTPUT_MATERIAL"), None)
        if surface is None or not surface.inputs["Surface"].is_linked:
            continue  # nothing of it is seen
        node = tree.nodes.new("ShaderNodeOutputAOV")
        node.aov_name = name
        opacity, value = _opacity(tree, surface.inputs["Surface"]), source(tree)
        if kind == "VALUE":
            _set(tree, node.inputs["Value"], _math(tree, "MULTIPLY", value, opacity))
        else:
            scaled = tree.nodes.new("ShaderNodeVectorMath")
            scaled.operation = "SCALE"
            _set(tree, scaled.inputs["Vector"], value)
            _set(tree, scaled.inputs["Scale"], opacity)
            tree.links.new(scaled.outputs["Vector"], node.inputs["Color"])


def _opacity(tree: Any, shader: Any) -> Value:
    """How opaque the surface is that goes into the input `shader`, from 0 to 1."""
    if not shader.is_linked:
        return 0.0
    node = shader.links[0].from_node
    match node.type:
        case "BSDF_TRANSPARENT":
            return 0.0
        case "BSDF_PRINCIPLED":
            return _of(node.inputs["Alpha"])
        case "MIX_SHADER":
            first, second = _opacity(tree, node.inputs[1]), _opacity(tree, node.inputs[2])
            share = _math(tree, "MULTIPLY", _of(node.inputs["Fac"]), _math(tree, "SUBTRACT", second, first))
            return _math(tree, "ADD", first, share)
        case _:
            return 1.0


def _of(socket: Any) -> Value:
    return socket.links[0].from_socket if socket.is_linked else float(socket.default_value)


def _math(tree: Any, operation: Literal["ADD", "SUBTRACT", "MULTIPLY"], a: Value, b: Value) -> Value:
    if isinstance(a, float) and isinstance(b, float):
        return {"ADD": a + b, "SUBTRACT": a - b, "MULTIPLY": a * b}[operation]
    node = tree.nodes.new("ShaderNodeMath")
    node.operation = operation
    _set(tree, node.inputs[0], a)
    _set(tree, node.inputs[1], b)
    return node.outputs["Value"]


def _set(tree: Any, socket: Any, value: Value) -> None:
    if isinstance(value, float):
        socket.default_value = value
    else:
        tree.links.new(value, socket)
