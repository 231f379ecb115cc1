"""Renders no more of a frame than the part where the asset is: an empty pixel costs Cycles nearly as much as others.

Samples hang on a pixel's place in the whole frame, so the part has the very pixels that the whole would have.
"""

from __future__ import annotations

import bpy
import numpy as np

from fourreal.datagen.blender.inside.measure import vertices_now
from fourreal.datagen.blender.scene import Scene

_MARGIN_PX = 2  # Cycles' pixel filter spreads a surface over less than one


def crop_to_asset(scene: Scene) -> tuple[slice, slice]:
    """Let Blender render only where some view sees the asset at the present time; returns these lines and columns.

    One window for all views, because they are rendered in one call.
    """
    left, top, right, bottom = _window(scene)
    render = bpy.context.scene.render
    render.use_border = render.use_crop_to_border = True
    # Blender cuts these shares of the frame off to whole pixels, and counts lines from below: half a pixel of room.
    render.border_min_x, render.border_max_x = (left + 0.5) / scene.width, (right + 0.5) / scene.width
    render.border_min_y = (scene.height - bottom + 0.5) / scene.height
    render.border_max_y = (scene.height - top + 0.5) / scene.height
    return slice(top, bottom), slice(left, right)


def _window(scene: Scene) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels in which a vertex is seen; the whole frame where that is unknown.

    With a ground there is something everywhere.
    """
    if scene.ground is not None:
        return 0, 0, scene.width, scene.height
    vertices, size = vertices_now().T.astype(np.float32), np.array([scene.width, scene.height])
    low, high = size.astype(np.float64), np.zeros(2)
    for camera in scene.cameras:
        matrix = camera.intrinsics_matrix() @ camera.world_to_camera_matrix()[:3]
        x, y, depth = matrix[:, :3].astype(np.float32) @ vertices + matrix[:, 3:].astype(np.float32)
        if not (depth > 0.0).all():  # behind a camera, or no number
            return 0, 0, scene.width, scene.height
        x, y = x / depth, y / depth
        low, high = np.minimum(low, [x.min(), y.min()]), np.maximum(high, [x.max(), y.max()])
    first = np.clip(np.floor(low) - _MARGIN_PX, 0, size).astype(int)
    last = np.clip(np.ceil(high) + _MARGIN_PX, 0, size).astype(int)
    if (first >= last).any():  # beside the frame
        return 0, 0, scene.width, scene.height
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])
