"""Finds triangles that lie twice on the same patch of a surface.

A rasterizer never shows them; to a ray tracer one shadows the other, and black patches appear. They are common in
files whose exporter cut a quad into three overlapping triangles, or wrote a face twice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_COPLANAR = 1.0 - 1e-5


def redundant_triangles(vertices: npt.NDArray[np.float64], triangles: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers of triangles that other triangles cover: `vertices` `[N, 3]`, `triangles` `[F, 3]`.

    On a sound surface a directed edge belongs to one triangle. One that has two directed edges in common with others
    of its plane lies on them, and goes, in order of number; vertices at one place count as one.
    """
    places = np.unique(vertices.round(7), axis=0, return_inverse=True)[1].reshape(-1)
    corners = places[triangles]
    edges = corners * len(vertices) + np.roll(corners, -1, axis=1)
    _values, inverse, counts = np.unique(edges, return_inverse=True, return_counts=True)
    shared = counts[inverse.reshape(-1)].reshape(-1, 3) > 1
    suspects = np.flatnonzero(shared.sum(axis=1) >= 2)
    if len(suspects) == 0:
        return suspects
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    owners: dict[int, set[int]] = {}
    for triangle, corner in zip(*np.nonzero(shared), strict=True):
        owners.setdefault(int(edges[triangle, corner]), set()).add(int(triangle))
    gone = []
    for triangle in suspects.tolist():
        covered = 0
        for edge in edges[triangle].tolist():
            others = owners.get(edge, set()) - {triangle}
            covered += any(normals[triangle] @ normals[other] > _COPLANAR for other in others)
        if covered >= 2:
            gone.append(triangle)
            for edge in edges[triangle].tolist():
                owners.get(edge, set()).discard(triangle)
    return np.array(gone, np.int64)
