"""Puts the actors of a scene in their places, and their clips at their moments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from fourreal.datagen.blender.inside.gltf import FPS, ImportedAsset
from fourreal.datagen.blender.scene import Actor, Placement


def put_on_stage(imported: ImportedAsset, actor: Actor) -> None:
    """Move an asset, as it was imported, to where and when the scene has it."""
    _gather(imported.roots, actor.placement)
    if actor.start_s != 0.0:
        for action in imported.playing:
            _shift(action, -actor.start_s * FPS)


def _gather(roots: Iterable[Any], placement: Placement) -> None:
    """Put objects without a parent, as they are, under a new one that carries the placement."""
    root = bpy.data.objects.new("fourreal-root", None)
    bpy.context.scene.collection.objects.link(root)
    for child in roots:
        child.parent = root  # without a parent inverse: the child's own matrix is now relative to the root
        child.matrix_parent_inverse = Matrix.Identity(4)
    scale = Matrix.Diagonal((placement.scale,) * 3 + (1.0,))
    turn = Matrix.Rotation(placement.turn, 4, "Z")
    root.matrix_basis = scale @ turn @ Matrix.Translation(-Vector(placement.centre))


def _shift(action: Any, frames: float) -> None:
    """Move all key frames in time."""
    curves = (c for layer in action.layers for strip in layer.strips for bag in strip.channelbags for c in bag.fcurves)
    for curve in curves:
        for field in ("co", "handle_left", "handle_right"):
            values = np.empty(2 * len(curve.keyframe_points), np.float32)
            curve.keyframe_points.foreach_get(field, values)
            values[::2] += frames
            curve.keyframe_points.foreach_set(field, values)
        curve.update()
