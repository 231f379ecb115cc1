"""Normals and flow of a render, from what the asset's materials wrote for each pixel.

Letters: V views, T times, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.scene import Scene
from fourreal.platform.cameras import project

Plane = npt.NDArray[np.float32]
Output = Literal["normals", "flow", "coverage"]

COVERAGE, NORMAL, POSITION, NEXT = (f"fourreal-{name}" for name in ("coverage", "normal", "position", "next"))
"""Passes, as means over the samples of a pixel, zero where a sample misses the asset: 1; the world's unit normal of
the surface; its place in the world (metres) at the pixel's time; and that of the same point at the next time."""

_CHANNELS = {COVERAGE: 1, NORMAL: 3, POSITION: 3, NEXT: 3}
_NEEDS: Mapping[Output, tuple[str, ...]] = {
    "normals": (COVERAGE, NORMAL),
    "flow": (COVERAGE, POSITION, NEXT),
    "coverage": (COVERAGE,),
}
_MIN_COVERAGE = 0.5
_MIN_LENGTH = 0.1


def passes_for(outputs: Iterable[str]) -> dict[str, int]:
    """Channels of the passes that these outputs (see `Output`) are made from, by name."""
    needed = {name for output, names in _NEEDS.items() if output in set(outputs) for name in names}
    return {name: count for name, count in _CHANNELS.items() if name in needed}


def normals_of(passes: Mapping[str, npt.NDArray[Any]]) -> Plane:
    """Unit normals in the world, float32 `[V, T, H, W, 3]`, of what most of the pixel shows of the asset.

    They are the mean over what is seen of it in the pixel, and NaN where it covers less than half of that, or where
    normals cancel out. Passes have the shapes `[V, T, H, W, channels]`.
    """
    mean, seen = passes[NORMAL], passes[COVERAGE][..., 0]
    length = np.linalg.norm(mean, axis=-1)
    known = (seen >= _MIN_COVERAGE) & (length > _MIN_LENGTH * seen)
    return np.where(known[..., None], mean / np.where(known, length, 1.0)[..., None], np.nan).astype(np.float32)


def flow_of(passes: Mapping[str, npt.NDArray[Any]], scene: Scene) -> Plane:
    """Forward flow, float32 `[V, T, H, W, 2]`: pixels (x, y) from each time of the scene to its next, in each view.

    It moves the mean place of what is seen of the asset in the pixel to the mean place of the same points at the next
    time, hidden there or not; samples lie anywhere in a pixel, and as they are the same for both places, that cancels
    out. NaN where the asset covers less than half of the pixel, where it comes behind the camera, and at the last
    time. Where a pixel shows two parts of the asset, it is between theirs.
    """
    seen = passes[COVERAGE][..., 0]
    flow = np.full((*seen.shape, 2), np.nan, np.float32)
    for v, camera in enumerate(scene.cameras):
        known = seen[v] >= _MIN_COVERAGE
        known[-1] = False
        weight = seen[v][known, None].astype(np.float64)
        view = camera.intrinsics_matrix(), camera.world_to_camera_matrix()
        here, _ = project(passes[POSITION][v][known] / weight, *view)
        there, depth = project(passes[NEXT][v][known] / weight, *view)
        flow[v][known] = np.where(depth[:, None] > 0.0, there - here, np.nan)
    return flow


def add_ground(normals: Plane | None, flow: Plane | None, alpha: npt.NDArray[Any], coverage: npt.NDArray[Any]) -> None:
    """Fill in the ground where it is at least half of a pixel: it points up, and lies still before still cameras.

    `alpha` `[V, T, H, W]` counts it, `coverage` `[V, T, H, W]` is the objects' part of that.
    """
    ground = alpha.astype(np.float32) - coverage.astype(np.float32)
    on_ground = (ground >= _MIN_COVERAGE) & (coverage < _MIN_COVERAGE)  # of two halves the objects' counts
    if normals is not None:
        normals[on_ground] = (0.0, 0.0, 1.0)
    if flow is not None:
        flow[:, :-1][on_ground[:, :-1]] = 0.0
