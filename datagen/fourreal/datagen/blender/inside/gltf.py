"""Imports a glTF file and sorts out which of its animations play together.

The importer makes an NLA track with the animation's name on every data block that a glTF animation moves, and
leaves only the first animation active.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import bpy
import numpy as np

# isort: split
import bmesh  # exists only once bpy is imported

from fourreal.datagen.blender.failure import WorkerFailure, as_reason
from fourreal.datagen.blender.inside.materials import correct_materials
from fourreal.datagen.blender.repair import redundant_triangles
from fourreal.datagen.blender.scene import Clip
from fourreal.datagen.gltf_checks import check_gltf
from fourreal.datagen.gltf_clips import playing_together
from fourreal.datagen.gltf_file import BadGltf

FPS = 60
"""Blender frames per second: keys lie at time * FPS, fractions included."""


@dataclass(frozen=True)
class ImportedAsset:
    """A file now open in Blender, its choices of clip (longest first), and the one that plays.

    `roots` are its objects without a parent, `playing` the actions of the clip.
    """

    path: str
    clips: tuple[Clip, ...]
    clip: str
    roots: Sequence[Any]
    playing: Sequence[Any]


class Fresh:
    """Tells what came into Blender since this was made."""

    _KINDS = ("objects", "meshes", "materials", "images", "shape_keys", "lights", "cameras")

    def __init__(self) -> None:
        self._old = {kind: set(getattr(bpy.data, kind).keys()) for kind in self._KINDS}

    def __call__(self, kind: str) -> list[Any]:
        """The new data blocks of a kind."""
        return [block for block in getattr(bpy.data, kind) if block.name not in self._old[kind]]


@dataclass
class _Animation:
    """One glTF animation: per moved data block its action and slot, and its range in frames."""

    targets: dict[str, tuple[Any, Any, Any]]
    first: float
    last: float


def import_assets(choices: Sequence[tuple[str, str | None]]) -> list[ImportedAsset]:
    """Open these files in an empty Blender, side by side; of each its clip plays, or the longest one.

    Raises WorkerFailure: those of `check_gltf`, import_error, no_meshes, no_animation, unknown_clip.
    """
    documents = [_checked(path) for path, _ in choices]
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True, load_ui=False)
    bpy.context.scene.render.fps = FPS  # before the import, which turns seconds into frames with it
    bpy.context.scene.render.fps_base = 1.0
    return [_import(path, clip, document) for (path, clip), document in zip(choices, documents, strict=True)]


def _checked(path: str) -> dict[str, Any]:
    try:
        return check_gltf(Path(path))
    except BadGltf as error:
        print(f"refused: {error}", flush=True)
        raise WorkerFailure("load", as_reason(error.reason), str(error)) from None


def _import(path: str, clip: str | None, document: dict[str, Any]) -> ImportedAsset:
    """Add the file to what is open."""
    fresh = Fresh()
    try:
        status = bpy.ops.import_scene.gltf(filepath=path, disable_bone_shape=True, import_scene_as_collection=False)
    except RuntimeError as error:
        raise WorkerFailure("load", "import_error", _last_line(error)) from error
    if "FINISHED" not in status:
        raise WorkerFailure("load", "import_error", "the glTF importer gave up without saying why")
    unreadable = [image.name for image in fresh("images") if 0 in image.size]
    if unreadable:
        raise WorkerFailure("load", "import_error", f"image {unreadable[0]!r} cannot be read")
    if not any(o.type == "MESH" and len(o.data.polygons) and not o.hide_render for o in fresh("objects")):
        raise WorkerFailure("load", "no_meshes", "the file holds no surface to render")
    animations = _animations(fresh)
    if not animations:
        raise WorkerFailure("load", "no_animation", "the file holds no animation of a node, skin or shape")
    if clip is not None and clip not in animations:
        raise WorkerFailure("load", "unknown_clip", f"no clip {clip!r}; the file has {', '.join(animations)}")
    chosen = next(iter(animations)) if clip is None else clip
    playing = _play(fresh, animations, chosen)
    correct_materials(document, fresh("materials"), fresh("meshes"))
    for mesh in fresh("meshes"):
        _repair(mesh)
    clips = tuple(Clip(name, a.first / FPS, (a.last - a.first) / FPS) for name, a in animations.items())
    roots = [o for o in fresh("objects") if o.parent is None]
    return ImportedAsset(path, clips, chosen, roots, playing)


def _animations(fresh: Fresh) -> dict[str, _Animation]:
    """Every glTF animation by name, longest first."""
    found: dict[str, _Animation] = {}
    for block in _animated_blocks(fresh):
        for track in block.animation_data.nla_tracks:
            for strip in track.strips:
                first, last = strip.action.frame_range
                animation = found.setdefault(track.name, _Animation({}, first, last))
                animation.targets[repr(block)] = (block, strip.action, strip.action_slot)
                animation.first, animation.last = min(animation.first, first), max(animation.last, last)
    return dict(sorted(found.items(), key=lambda item: (item[1].first - item[1].last, item[0])))


def _animated_blocks(fresh: Fresh) -> Iterator[Any]:
    materials = fresh("materials")
    trees = [m.node_tree for m in materials if m.node_tree]
    for block in chain(fresh("objects"), fresh("shape_keys"), materials, trees, fresh("lights"), fresh("cameras")):
        if block.animation_data is not None:
            yield block


def _play(fresh: Fresh, animations: dict[str, _Animation], chosen: str) -> list[Any]:
    for block in _animated_blocks(fresh):
        block.animation_data.action = None
    targets = {name: animation.targets.keys() for name, animation in animations.items()}
    actions = {}
    for name in playing_together(targets, chosen):
        for block, action, slot in animations[name].targets.values():
            block.animation_data.action = action
            block.animation_data.action_slot = slot
            actions[action.name] = action
    return list(actions.values())


def _repair(mesh: Any) -> None:
    """Remove triangles that lie on others: see `redundant_triangles`. The importer makes triangles only."""
    if not mesh.polygons or len(mesh.loops) != 3 * len(mesh.polygons):
        return
    vertices, corners = np.empty(3 * len(mesh.vertices), np.float32), np.empty(len(mesh.loops), np.int32)
    mesh.vertices.foreach_get("co", vertices)
    mesh.loops.foreach_get("vertex_index", corners)
    gone = redundant_triangles(vertices.reshape(-1, 3).astype(np.float64), corners.reshape(-1, 3).astype(np.int64))
    if len(gone):
        edited = bmesh.new()
        edited.from_mesh(mesh)
        edited.faces.ensure_lookup_table()
        bmesh.ops.delete(edited, geom=[edited.faces[i] for i in gone.tolist()], context="FACES_ONLY")
        edited.to_mesh(mesh)
        edited.free()


def _last_line(error: Exception) -> str:
    """Without the place in Blender's own code that follows the message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Location:")]
    return lines[-1] if lines else type(error).__name__
