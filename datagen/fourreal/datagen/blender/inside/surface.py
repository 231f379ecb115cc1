"""Makes the asset's materials write where its surface is, where it goes, and how it is turned (see blender/surface.py).

The next place of a vertex travels in two parts: as an attribute of the mesh, in the object's own space (what skins
and shapes do), and as the object's next matrix, in three custom properties (what moves it as a whole). So objects that
share a mesh go on sharing it, and rigid ones keep theirs from one time to the next.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.inside.aov import add_aov, add_coverage, rendered_materials
from fourreal.datagen.blender.inside.measure import go_to
from fourreal.datagen.blender.surface import COVERAGE, NEXT, NORMAL, POSITION

_ATTRIBUTE = "fourreal-next"
_ROWS = tuple(f"fourreal-next-row{i}" for i in range(3))


class SurfacePasses:
    """The passes of the open asset named in `passes`; `prepare(t)` before each render of one of its times."""

    def __init__(self, passes: Collection[str], times_s: Sequence[float]) -> None:
        self._moved: list[dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]]] = []
        self._now: dict[str, npt.NDArray[np.float32]] = {}
        materials = rendered_materials()
        if COVERAGE in passes:
            add_coverage(materials)
        if NORMAL in passes:
            add_aov(NORMAL, "COLOR", materials, lambda tree: _geometry(tree, "Normal"))
        if POSITION in passes:
            add_aov(POSITION, "COLOR", materials, lambda tree: _geometry(tree, "Position"))
        if NEXT in passes:
            add_aov(NEXT, "COLOR", materials, _next_position)
            _separate_deformed_meshes()
            for time_s in times_s:
                go_to(time_s)
                self._moved.append({o.name: _place(o) for o in _surfaces()})

    def prepare(self, t: int) -> None:
        """Tell every surface where it is at the time after number `t`; before the scene is set to time `t`."""
        if t + 1 >= len(self._moved):
            return
        for object_name, (local, matrix) in self._moved[t + 1].items():
            o: Any = bpy.data.objects[object_name]
            for name, row in zip(_ROWS, matrix[:3], strict=True):
                o[name] = row.tolist()
            o.update_tag()
            if o.data.name not in self._now or not np.array_equal(self._now[o.data.name], local):
                _write_attribute(o.data, local)
                self._now[o.data.name] = local


def _surfaces() -> list[Any]:
    return [o for o in bpy.context.scene.objects if o.type == "MESH" and not o.hide_render and len(o.data.vertices)]


def _separate_deformed_meshes() -> None:
    """Objects with a mesh in common but modifiers of their own (skins) take it to different places."""
    for o in _surfaces():
        if o.modifiers and o.data.users > 1:
            o.data = o.data.copy()


def _place(o: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Its vertices in its own space `[N, 3]`, and its matrix to the world, as the scene stands."""
    evaluated = o.evaluated_get(bpy.context.evaluated_depsgraph_get())
    local = np.empty(3 * len(evaluated.data.vertices), np.float32)
    evaluated.data.vertices.foreach_get("co", local)
    return local, np.array(evaluated.matrix_world)


def _write_attribute(mesh: Any, local: npt.NDArray[np.float32]) -> None:
    attribute = mesh.attributes.get(_ATTRIBUTE) or mesh.attributes.new(_ATTRIBUTE, "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", local)
    mesh.update_tag()


def _geometry(tree: Any, output: str) -> Any:
    return tree.nodes.new("ShaderNodeNewGeometry").outputs[output]


def _next_position(tree: Any) -> Any:
    """The object's next matrix times the next place in its own space."""
    nodes, link = tree.nodes, tree.links.new
    local, joined = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeCombineXYZ")
    local.attribute_name = _ATTRIBUTE
    for name, component in zip(_ROWS, joined.inputs, strict=True):
        row, turned, moved = (nodes.new(f"ShaderNode{kind}") for kind in ("Attribute", "VectorMath", "Math"))
        row.attribute_type, row.attribute_name = "OBJECT", name
        turned.operation, moved.operation = "DOT_PRODUCT", "ADD"
        link(row.outputs["Vector"], turned.inputs[0])
        link(local.outputs["Vector"], turned.inputs[1])
        link(turned.outputs["Value"], moved.inputs[0])
        link(row.outputs["Alpha"], moved.inputs[1])
        link(moved.outputs["Value"], component)
    return joined.outputs["Vector"]
