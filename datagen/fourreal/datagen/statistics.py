"""How an asset moves and what is seen of it, as numbers that filters and people can read.

Letters: V views, T times, D hull directions, P points, H rows, W columns.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.pixels import RenderedPixels, linear_to_srgb
from fourreal.datagen.blender.scene import Measurement, Scene
from fourreal.platform.cameras import project

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_SEEN = 0.5
"""Coverage from which a pixel counts as the asset's."""


def geometry_statistics(scene: Scene, measurement: Measurement) -> dict[str, float]:
    """What the tracked surface, where it is in the scene, says before anything is rendered.

    `mean_px`, `p95_px` and `max_px` are displacements in pixels between neighbouring times, over all views (the mean
    over points; the 95th percentile over points of each point's mean; the largest of all); `p95_share` is the second
    as a share of the frame's smaller side, so that it does not depend on the resolution. `growth` is the extent
    (diagonal of the bounding box) at the time when it is largest over that when it is smallest, `travel` the extent
    over all times over the mean extent at one time.
    """
    extent = np.linalg.norm(np.ptp(measurement.hull, axis=1), axis=-1)
    everywhere = np.linalg.norm(np.ptp(measurement.hull.reshape(-1, 3), axis=0))
    found = {
        "growth": float(extent.max() / max(extent.min(), 1e-6 * extent.max())),
        "travel": float(everywhere / extent.mean()),
    }
    points = measurement.points
    T, P, _ = points.shape
    if T == 1:
        return found | {"mean_px": 0.0, "p95_px": 0.0, "max_px": 0.0, "p95_share": 0.0}
    steps = np.empty((len(scene.cameras), T - 1, P))
    for v, camera in enumerate(scene.cameras):
        lens, pose = camera.intrinsics_matrix(), camera.world_to_camera_matrix()
        pixels = project(points.reshape(-1, 3), lens, pose)[0].reshape(T, P, 2)
        steps[v] = np.linalg.norm(np.diff(pixels, axis=0), axis=-1)
    p95 = float(np.percentile(steps.mean(axis=(0, 1)), 95))
    return found | {
        "mean_px": float(steps.mean()),
        "p95_px": p95,
        "max_px": float(steps.max()),
        "p95_share": p95 / min(scene.height, scene.width),
    }


def hull_areas(scene: Scene, measurement: Measurement) -> npt.NDArray[np.float64]:
    """Share of the frame that the convex hull of all objects covers, where they are in the scene: `[V, T]`."""
    T, D, _ = measurement.hull.shape
    areas = np.empty((len(scene.cameras), T))
    for v, camera in enumerate(scene.cameras):
        lens, pose = camera.intrinsics_matrix(), camera.world_to_camera_matrix()
        outlines = project(measurement.hull.reshape(-1, 3), lens, pose)[0].reshape(T, D, 2).astype(np.float32)
        areas[v] = [cv2.contourArea(cv2.convexHull(outline)) for outline in outlines]
    return np.maximum(areas, 1.0) / (scene.height * scene.width)


def pixel_statistics(pixels: RenderedPixels, hull: npt.NDArray[np.float64]) -> dict[str, float]:
    """What the render says of the asset, whatever is behind it; `hull` are its `hull_areas`.

    `coverage_mean` and `coverage_min` are shares of the frame that it covers, over all views (at the time when that
    is least). `border_share` is the share of the frame's outermost pixels that it covers in the frame where that is
    most. `silhouette_change` is the part of two neighbouring times' silhouettes that only one of them has (0: the
    same, 1: apart), on average. `flicker` is how far the brightness of the asset (sRGB, 0 to 1) or the area that it
    covers (relative to its mean) is, on average, from the mean of the times before and after. Fast motion changes an
    area as much; but what turns or grows takes its convex hull along, and what appears and disappears does not. So an
    area counts as far as both it and the part of the hull that it fills (relative to its mean) jump. `colour_spread`
    is the standard deviation of its colour (sRGB, 0 to 1), noise smoothed away.
    """
    alpha = pixels.alpha
    seen = alpha > _SEEN
    area = alpha.mean(axis=(2, 3), dtype=np.float64)
    edges = (seen[:, :, 0], seen[:, :, -1], seen[:, :, :, 0], seen[:, :, :, -1])
    mean_area = max(float(area.mean()), 1e-9)
    filled = area / hull
    filled /= max(float(filled.mean()), 1e-9)
    luma, spread = _colours(pixels, seen)
    return {
        "coverage_mean": float(area.mean()),
        "coverage_min": float(area.mean(axis=0).min()),
        "border_share": float(np.concatenate(edges, axis=-1).mean(axis=-1).max()),
        "silhouette_change": _silhouette_change(seen),
        "flicker": max(_mean(_jitter(luma)), _mean(np.minimum(_jitter(area / mean_area), _jitter(filled)))),
        "colour_spread": spread,
    }


def _silhouette_change(seen: npt.NDArray[np.bool_]) -> float:
    if seen.shape[1] == 1:
        return 0.0
    either = (seen[:, 1:] | seen[:, :-1]).sum(axis=(2, 3))
    return float(((seen[:, 1:] ^ seen[:, :-1]).sum(axis=(2, 3)) / np.maximum(either, 1)).mean())


def _jitter(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of `[V, T]`: the distance of a value from the mean of its neighbours in time, `[V, T - 2]`."""
    return np.abs(values[:, 1:-1] - 0.5 * (values[:, 2:] + values[:, :-2]))


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0


def _colours(pixels: RenderedPixels, seen: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], float]:
    """The asset's mean brightness `[V, T]`, and how far its colours lie apart."""
    V, T = seen.shape[:2]
    luma = np.zeros((V, T))
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for v in range(V):
        for t in range(T):
            smooth = cv2.blur(np.nan_to_num(pixels.colour[v, t][pixels.window].astype(np.float32)), (5, 5))
            where = seen[v, t][pixels.window]
            if where.any():
                inside = smooth[where]
                colour = linear_to_srgb(inside[:, :3] / np.maximum(inside[:, 3:], 1e-6))
                luma[v, t] = (colour @ _LUMA).mean()
                count += len(colour)
                total += colour.sum(axis=0, dtype=np.float64)
                squares += np.square(colour, dtype=np.float64).sum(axis=0)
    mean = total / max(count, 1)
    return luma, float(np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0.0).sum()))
