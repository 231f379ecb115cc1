"""What Blender's importer leaves out of glTF 2.0's materials (specification, 3.9), put right.

Cycles shows both sides of every surface, and the importer's material for surfaces without one is not glTF's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bpy

_IMPORTERS_DEFAULT = "DefaultMaterial"
"""Its name of the material that it makes for surfaces without one, perhaps with a number behind it."""


def correct_materials(document: dict[str, Any], materials: Iterable[Any], meshes: Iterable[Any]) -> None:
    """Change `materials` of a file just opened with `meshes`, of which `document` is the JSON."""
    named_in_file = {material.get("name") for material in document.get("materials", [])}
    for material in materials:
        output = _output(material)
        if output is None or not output.inputs["Surface"].is_linked:
            continue
        by_importer = material.name.partition(".")[0] == _IMPORTERS_DEFAULT and _IMPORTERS_DEFAULT not in named_in_file
        if by_importer:
            _set_default(output)
        if by_importer or material.use_backface_culling:
            _cull_back_faces(material, output)
    _fill_empty_slots(meshes)


def _output(material: Any) -> Any:
    return (
        next((n for n in material.node_tree.nodes if n.type == "OUTPUT_MATERIAL"), None) if material.use_nodes else None
    )


def _fill_empty_slots(of_file: Iterable[Any]) -> None:
    """Without vertex colours the importer makes no material where the file has none."""
    meshes = [mesh for mesh in of_file if not mesh.materials or None in mesh.materials[:]]
    if not meshes:
        return
    default = bpy.data.materials.new("fourreal-default")
    default.use_nodes = True
    output = _output(default)
    _set_default(output)
    _cull_back_faces(default, output)
    for mesh in meshes:
        if not mesh.materials:
            mesh.materials.append(default)
        for slot, material in enumerate(mesh.materials):
            if material is None:
                mesh.materials[slot] = default


def _set_default(output: Any) -> None:
    """glTF's default: a white metal, as rough as can be."""
    surface = output.inputs["Surface"].links[0].from_node
    surface.inputs["Base Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    surface.inputs["Metallic"].default_value = surface.inputs["Roughness"].default_value = 1.0


def _cull_back_faces(material: Any, output: Any) -> None:
    """Let cameras see through the back of every surface; it still throws its shadow and bounces light."""
    nodes, link = material.node_tree.nodes, material.node_tree.links.new
    shader = output.inputs["Surface"].links[0].from_socket
    if not _may_be_transparent(material):
        material.use_transparent_shadow = False  # or every shadow ray would ask the shader
    path, geometry, both = (
        nodes.new("ShaderNodeLightPath"),
        nodes.new("ShaderNodeNewGeometry"),
        nodes.new("ShaderNodeMath"),
    )
    clear, mix = nodes.new("ShaderNodeBsdfTransparent"), nodes.new("ShaderNodeMixShader")
    both.operation = "MULTIPLY"
    link(path.outputs["Is Camera Ray"], both.inputs[0])
    link(geometry.outputs["Backfacing"], both.inputs[1])
    link(both.outputs["Value"], mix.inputs["Fac"])
    link(shader, mix.inputs[1])
    link(clear.outputs["BSDF"], mix.inputs[2])
    link(mix.outputs["Shader"], output.inputs["Surface"])


def _may_be_transparent(material: Any) -> bool:
    for node in material.node_tree.nodes:
        if node.type == "BSDF_TRANSPARENT":
            return True
        if node.type == "BSDF_PRINCIPLED":
            alpha, transmission = node.inputs["Alpha"], node.inputs["Transmission Weight"]
            clear = alpha.is_linked or alpha.default_value < 1.0
            if clear or transmission.is_linked or transmission.default_value > 0.0:
                return True
    return False
