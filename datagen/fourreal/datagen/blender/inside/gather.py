"""Moves objects together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bpy
from mathutils import Matrix


def gather(roots: Iterable[Any], matrix: Matrix) -> None:
    """Put objects without a parent, as they are, under a new one with this matrix."""
    root = bpy.data.objects.new("fourreal-root", None)
    bpy.context.scene.collection.objects.link(root)
    for child in roots:
        child.parent = root  # without a parent inverse: the child's own matrix is now relative to the root
        child.matrix_parent_inverse = Matrix.Identity(4)
    root.matrix_basis = matrix
