"""Adds the ground under the objects: a disc of one soft material, whose edge is blended into what lies behind it."""

from __future__ import annotations

from typing import Any

import bpy

from fourreal.datagen.blender.scene import Ground

_CORNERS = 64


def add_ground(ground: Ground) -> None:
    """Add it to the open scene: after `rendered_materials` was asked for, and after the actors are placed."""
    bpy.ops.mesh.primitive_circle_add(
        vertices=_CORNERS, radius=1.05 * ground.end_m, fill_type="NGON", location=(0.0, 0.0, ground.height)
    )
    disc: Any = bpy.context.object
    disc.name = "fourreal-ground"
    disc.data.materials.append(_material(ground))


def _material(ground: Ground) -> Any:
    material = bpy.data.materials.new("fourreal-ground")
    material.use_nodes = True
    material.use_transparent_shadow = False  # or every shadow ray would ask the shader
    nodes, link = material.node_tree.nodes, material.node_tree.links.new
    surface, output = nodes.new("ShaderNodeBsdfDiffuse"), nodes["Material Output"]
    nodes.remove(nodes["Principled BSDF"])  # seen at a slant, it would shine with the sky, which is not the background
    place, length, fade = (nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "VectorMath", "MapRange"))
    clear, mix = nodes.new("ShaderNodeBsdfTransparent"), nodes.new("ShaderNodeMixShader")
    length.operation, fade.interpolation_type = "LENGTH", "SMOOTHSTEP"
    fade.inputs["From Min"].default_value, fade.inputs["From Max"].default_value = ground.solid_m, ground.end_m
    link(place.outputs["Object"], length.inputs[0])
    link(length.outputs["Value"], fade.inputs["Value"])
    link(fade.outputs["Result"], mix.inputs["Fac"])
    link(surface.outputs["BSDF"], mix.inputs[1])
    link(clear.outputs["BSDF"], mix.inputs[2])
    link(mix.outputs["Shader"], output.inputs["Surface"])

    moved, noise, ramp = (nodes.new(f"ShaderNode{kind}") for kind in ("VectorMath", "TexNoise", "ValToRGB"))
    moved.inputs[1].default_value = ground.offset
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = ground.grain_per_m, 4.0
    for element, position, colour in zip(ramp.color_ramp.elements, (0.35, 0.65), ground.colours, strict=True):
        element.position, element.color = position, (*colour, 1.0)
    link(place.outputs["Object"], moved.inputs[0])
    link(moved.outputs["Vector"], noise.inputs["Vector"])
    link(noise.outputs["Fac"], ramp.inputs["Fac"])
    link(ramp.outputs["Color"], surface.inputs["Color"])
    return material
