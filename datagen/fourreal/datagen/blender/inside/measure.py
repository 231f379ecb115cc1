"""Where an asset's surface is over time, from the vertices that Blender evaluates (skins, shapes, transforms)."""

from __future__ import annotations

import bpy
import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.failure import WorkerFailure
from fourreal.datagen.blender.inside.gltf import FPS
from fourreal.datagen.blender.scene import Measurement

HULL_DIRECTIONS = 128
"""With as many even directions, no vertex lies further outside the hull than about 2 % of its radius."""
TRACKED_POINTS = 256


def measure(times_s: list[float]) -> Measurement:
    """Measure the open asset at these times.

    Raises WorkerFailure: nan_geometry for positions that are no numbers or an asset without any extent.
    """
    directions = _even_directions(HULL_DIRECTIONS)
    hull, points, lowest = [], [], []
    for time_s in times_s:
        go_to(time_s)
        vertices = vertices_now()
        if not np.isfinite(vertices).all():
            raise WorkerFailure("measure", "nan_geometry", f"vertices are not finite at {time_s:.3f} s")
        hull.append(vertices[np.argmax(directions @ vertices.T, axis=1)])
        points.append(vertices[np.linspace(0, len(vertices) - 1, TRACKED_POINTS).astype(np.int64)])
        lowest.append(float(vertices[:, 2].min()))
    extent = np.ptp(np.concatenate(hull), axis=0).max()
    if not extent > 0.0:
        raise WorkerFailure("measure", "nan_geometry", "all vertices lie on one point")
    return Measurement(np.stack(hull), np.stack(points), np.array(lowest))


def go_to(time_s: float) -> None:
    """Set the open scene to a time on the clip's own time line."""
    frame = time_s * FPS
    whole = int(np.floor(frame))
    bpy.context.scene.frame_set(whole, subframe=frame - whole)


def vertices_now() -> npt.NDArray[np.float64]:
    """All vertices that will be rendered, in the world, at the present time: float64 `[N, 3]`."""
    found = []
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        if instance.object.type != "MESH" or instance.object.hide_render:
            continue
        mesh = instance.object.data
        local = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", local)
        matrix = np.array(instance.matrix_world)
        found.append(local.reshape(-1, 3).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3])
    return np.concatenate(found)


def _even_directions(count: int) -> npt.NDArray[np.float64]:
    """A Fibonacci lattice on the unit sphere: `[count, 3]`."""
    k = np.arange(count) + 0.5
    polar = np.arccos(1.0 - 2.0 * k / count)
    azimuth = np.pi * (1.0 + 5.0**0.5) * k
    return np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)
