"""Paths of 2D transforms over views: what a virtual camera would see of a flat picture, or of a few flat layers.

Coordinates here are *plane* coordinates: the picture that view 0 shows has height 1, width W/H and its centre at
the origin, x to the right and y down. A path is `[L, V, 3, 3]`, for L layers: matrix v of a layer maps a point of
view v's picture to the place in view 0's picture where that layer shows the same. Matrix 0 is the identity.

Source: 4Real-Video trains on 2D affine transforms of ordinary videos (section 4), 4Real-Video-V2 on random
homographies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
_HALF_FOV = np.radians(30.0)  # from the centre to a corner

LARGEST_MAGNITUDE = 2.0
LARGEST_DEPTH_RATIO = 2.5
"""Of the farthest to the nearest layer. With these two, every layer is in front of every camera, by a few lines of
trigonometry: a camera turns by at most 42 degrees (cos = 0.75) and a corner lies 30 off its axis, so no ray is parallel
to a layer; and the camera comes no nearer than 1 - 0.76 * 0.75 = 0.43, the nearest layer is at 1 / sqrt(2.5) = 0.63."""


def affine_path(views: int, aspect: float, rng: np.random.Generator, magnitude: float = 1.0) -> Array:
    """Random smooth path of translations, rotations, zooms and shears, `[1, V, 3, 3]`."""
    limits = np.array([_TRANSLATION, _TRANSLATION, _ROTATION, _LOG_ZOOM, _SHEAR]) * magnitude
    matrices = np.empty((1, views, 3, 3))
    for v, (x, y, angle, log_zoom, shear) in enumerate(_curves(views, limits, rng)):
        c, s = np.cos(angle), np.sin(angle)
        linear = np.exp(log_zoom) * np.array([[c, -s], [s, c]]) @ np.array([[1.0, shear], [0.0, 1.0]])
        matrices[0, v] = [[*linear[0], x], [*linear[1], y], [0.0, 0.0, 1.0]]
    return matrices


def homography_path(views: int, aspect: float, rng: np.random.Generator, magnitude: float = 1.0) -> Array:
    """Random smooth path of a virtual camera before one plane, `[1, V, 3, 3]`; see `parallax_path`."""
    return parallax_path(views, aspect, rng, magnitude, [1.0])


def parallax_path(
    views: int, aspect: float, rng: np.random.Generator, magnitude: float, inverse_depths: Sequence[float]
) -> Array:
    """Random smooth path of a virtual camera before parallel planes, `[L, V, 3, 3]`.

    The camera orbits a point of the plane at distance 1, turns about its own axis, moves in and out, and the point
    moves sideways: it rotates and translates. Its diagonal field of view is 60 degrees.
    """
    limits = np.array([_TRANSLATION, _TRANSLATION, _ORBIT, _ORBIT, _ROTATION, _DOLLY]) * magnitude
    focal = 0.5 * np.hypot(1.0, aspect) / np.tan(_HALF_FOV)
    camera = np.diag([focal, focal, 1.0])
    normal = np.array([0.0, 0.0, 1.0])
    x, y, yaw, pitch, roll, dolly = _curves(views, limits, rng).T
    to_world = (_turns(2, roll) @ _turns(0, pitch) @ _turns(1, yaw)).swapaxes(1, 2)
    target = np.stack([x / focal, y / focal, np.ones(views)], axis=1)
    centre = target - (1.0 - dolly)[:, None] * (to_world @ normal)  # looks at the target
    # A ray d from the centre c meets the plane z = 1 / nearness where camera 0 sees, in units of that distance, the
    # point (1 - nearness c_z) d + nearness c d_z.
    shift = np.array(inverse_depths)[:, None, None] * centre
    to_plane = (1.0 - shift[..., 2, None, None]) * np.eye(3) + shift[..., None] * normal
    matrices = camera @ to_plane @ to_world @ np.linalg.inv(camera)
    return np.asarray(matrices / matrices[..., 2:, 2:])


PLANAR_FAMILIES: dict[str, Callable[[int, float, np.random.Generator, float], Array]] = {
    "affine": affine_path,
    "homography": homography_path,
}
"""The path families that need nothing but the picture, by name: (views, W/H, generator, magnitude)."""


def _curves(views: int, limits: Array, rng: np.random.Generator) -> Array:
    """Smooth random curves `[V, len(limits)]` that start at 0 and stay within the limits.

    Each is a line plus half and whole waves, with random weights whose absolute values add up to at most 1.
    """
    u = np.linspace(0.0, 1.0, views)[:, None]
    weights = rng.dirichlet(np.ones(3), len(limits)).T * rng.uniform(-1.0, 1.0, (3, len(limits)))
    basis = np.stack([u, np.sin(0.5 * np.pi * u), np.sin(np.pi * u)])
    return np.asarray(np.einsum("kvi,kp->vp", basis, weights) * limits)


def _turns(axis: int, angles: Array) -> Array:
    """Rotations about a coordinate axis, right-handed: `[V, 3, 3]` by angles `[V]`."""
    c, s = np.cos(angles), np.sin(angles)
    i, j = [k for k in range(3) if k != axis]
    sign = -1.0 if axis == 1 else 1.0
    rotations = np.tile(np.eye(3), (len(angles), 1, 1))
    rotations[:, i, i] = rotations[:, j, j] = c
    rotations[:, i, j], rotations[:, j, i] = -sign * s, sign * s
    return rotations
