"""Paths of 2D transforms over views: what a virtual camera would see of a flat picture.

Coordinates here are *plane* coordinates: the picture that view 0 shows has height 1, width W/H and its centre at
the origin, x to the right and y down. A path is `[V, 3, 3]`: matrix v maps a point of view v's picture to the
place in the plane that it shows. Matrix 0 is the identity.

Source: 4Real-Video trains on 2D affine transforms of ordinary videos (section 4), 4Real-Video-V2 on random
homographies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Largest parameters at magnitude 1, reached at the far end of a path. About what a camera on a 30 degree arc sees.
_TRANSLATION = 0.15  # picture heights
_ROTATION = np.radians(8.0)
_LOG_ZOOM = 0.18
_SHEAR = 0.08
_ORBIT = np.radians(15.0)
_DOLLY = 0.12  # distances to the plane
_FOV = np.radians(50.0)


@dataclass(frozen=True)
class Placement:
    """Where in a source picture the plane lies: plane (x, y) is at source pixel `scale * (x, y) + (left, top)`.

    Pixel centres are at +0.5.
    """

    scale: float
    left: float
    top: float


def affine_path(views: int, rng: np.random.Generator, magnitude: float = 1.0) -> Array:
    """Random smooth path of translations, rotations, zooms and shears, `[V, 3, 3]`."""
    limits = np.array([_TRANSLATION, _TRANSLATION, _ROTATION, _LOG_ZOOM, _SHEAR]) * magnitude
    matrices = np.empty((views, 3, 3))
    for v, (x, y, angle, log_zoom, shear) in enumerate(_curves(views, limits, rng)):
        c, s = np.cos(angle), np.sin(angle)
        linear = np.exp(log_zoom) * np.array([[c, -s], [s, c]]) @ np.array([[1.0, shear], [0.0, 1.0]])
        matrices[v] = [[*linear[0], x], [*linear[1], y], [0.0, 0.0, 1.0]]
    return matrices


def homography_path(views: int, rng: np.random.Generator, magnitude: float = 1.0) -> Array:
    """Random smooth path of a camera that orbits a plane, turns about its own axis and moves in, `[V, 3, 3]`.

    The plane lies at distance 1 from camera 0, whose image fills the picture at a field of view of 50 degrees.
    """
    limits = np.array([_ORBIT, _ORBIT, _ROTATION, _DOLLY]) * magnitude
    focal = 0.5 / np.tan(0.5 * _FOV)
    camera = np.diag([focal, focal, 1.0])
    normal = np.array([0.0, 0.0, 1.0])
    matrices = np.empty((views, 3, 3))
    for v, (yaw, pitch, roll, dolly) in enumerate(_curves(views, limits, rng)):
        rotation = _turn(2, roll) @ _turn(0, pitch) @ _turn(1, yaw)  # world to camera
        centre = normal - (1.0 - dolly) * (rotation.T @ normal)  # looks at the picture's middle
        # A ray d from the centre c meets the plane z = 1 at c + d (1 - c_z) / d_z, that is at (1 - c_z) d + c d_z.
        matrix = (
            camera @ ((1.0 - centre[2]) * np.eye(3) + np.outer(centre, normal)) @ rotation.T @ np.linalg.inv(camera)
        )
        matrices[v] = matrix / matrix[2, 2]
    return matrices


FAMILIES: dict[str, Callable[[int, np.random.Generator, float], Array]] = {
    "affine": affine_path,
    "homography": homography_path,
}
"""The path families by name."""


def place(
    path: Array, aspect: float, margin: float, source_size: tuple[int, int], rng: np.random.Generator
) -> Placement:
    """Place the plane in a source picture so that no view leaves the picture, as large as that allows.

    `aspect` is W/H of the views, `margin` (plane units) stays free around them, `source_size` is (width, height).
    All views' corners span a box in the plane; the box is fitted into the source and slid at random along the side
    that has room. A homography maps the convex view into the convex box as long as its corners lie there and are
    in front of the camera, so nothing needs clipping.

    Raises ValueError when a corner of a view is not in front of the camera.
    """
    corners = np.array([[x, y, 1.0] for x in (-0.5 * aspect, 0.5 * aspect) for y in (-0.5, 0.5)])
    mapped = np.einsum("vij,cj->vci", path, corners)
    if np.any(mapped[..., 2] <= 1e-6):
        raise ValueError("a view of the path looks past the plane: choose a smaller magnitude")
    points = (mapped[..., :2] / mapped[..., 2:]).reshape(-1, 2)
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    room = np.array(source_size, np.float64)
    scale = float(np.min(room / (high - low)))
    slack = room - scale * (high - low)
    left, top = rng.uniform(0.0, 1.0, 2) * slack - scale * low
    return Placement(scale, float(left), float(top))


def _curves(views: int, limits: Array, rng: np.random.Generator) -> Array:
    """Smooth random curves `[V, len(limits)]` that start at 0 and stay within the limits.

    Each is a line plus half and whole waves, with random weights whose absolute values add up to at most 1.
    """
    u = np.linspace(0.0, 1.0, views)[:, None]
    weights = rng.dirichlet(np.ones(3), len(limits)).T * rng.uniform(-1.0, 1.0, (3, len(limits)))
    basis = np.stack([u, np.sin(0.5 * np.pi * u), np.sin(np.pi * u)])
    return np.asarray(np.einsum("kvi,kp->vp", basis, weights) * limits)


def _turn(axis: int, angle: float) -> Array:
    """Rotation about a coordinate axis, right-handed."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = [k for k in range(3) if k != axis]
    sign = -1.0 if axis == 1 else 1.0
    rotation = np.eye(3)
    rotation[i, i] = rotation[j, j] = c
    rotation[i, j], rotation[j, i] = -sign * s, sign * s
    return rotation
