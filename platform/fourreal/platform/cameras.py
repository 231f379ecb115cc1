"""Pinhole cameras: OpenCV axes (x right, y down, z forward), world-to-camera, metres, radians.

Pixel centres lie at +0.5: the centre of the top left pixel is (0.5, 0.5), the image spans (0, 0) to (W, H).
Shapes may carry any leading batch axes, written `...`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def intrinsics(width: int, height: int, *, vertical_fov: float) -> Array:
    """Camera matrix `[3, 3]` of square pixels with the principal point in the middle.

    `vertical_fov` is in radians, between 0 and pi. Raises ValueError outside.
    """
    if not 0.0 < vertical_fov < math.pi:
        raise ValueError(f"a field of view lies between 0 and pi radians, not at {vertical_fov}")
    focal = 0.5 * height / math.tan(0.5 * vertical_fov)
    return np.array([[focal, 0.0, 0.5 * width], [0.0, focal, 0.5 * height], [0.0, 0.0, 1.0]])


def look_at(eye: npt.ArrayLike, target: npt.ArrayLike, up: npt.ArrayLike = (0.0, 0.0, 1.0)) -> Array:
    """World-to-camera `[..., 4, 4]` of cameras at `eye [..., 3]` that look at `target [..., 3]`.

    The image's up direction is `up` as far as the viewing direction allows. Raises ValueError where the eye is
    at the target or the viewing direction is parallel to `up`.
    """
    eye_, target_, up_ = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (eye, target, up)))
    forward = _unit(target_ - eye_, "the eye is at the target")
    right = _unit(np.cross(forward, up_), "the viewing direction is parallel to up")
    down = np.cross(forward, right)
    rotation = np.stack([right, down, forward], axis=-2)
    matrix = np.zeros((*eye_.shape[:-1], 4, 4))
    matrix[..., :3, :3] = rotation
    matrix[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation, eye_)
    matrix[..., 3, 3] = 1.0
    return matrix


def orbit(
    azimuths: npt.ArrayLike, elevations: npt.ArrayLike, radii: npt.ArrayLike, target: npt.ArrayLike = (0.0, 0.0, 0.0)
) -> Array:
    """World-to-camera `[V, 4, 4]` of cameras on a sphere around `target` (z up), looking at it.

    Azimuth turns from +x to +y, elevation rises from the horizon to z (both radians, elevation within
    (-pi/2, pi/2)); radius in metres. Scalars and `[V]` arrays mix.
    """
    a, e, r = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (azimuths, elevations, radii))
    )
    direction = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1)
    centre = np.asarray(target, dtype=np.float64)
    return look_at(centre + r[:, None] * direction, centre)


def camera_centre(world_to_camera: Array) -> Array:
    """Positions `[..., 3]` of the cameras in the world."""
    rotation, translation = world_to_camera[..., :3, :3], world_to_camera[..., :3, 3]
    return np.asarray(-np.einsum("...ji,...j->...i", rotation, translation))


def project(points: npt.ArrayLike, intrinsics: Array, world_to_camera: Array) -> tuple[Array, Array]:
    """Project world points `[N, 3]` into one camera: pixels `[N, 2]` and planar depth `[N]` in metres.

    A point behind the camera has a negative depth, and pixels that mean nothing.
    """
    in_camera = np.asarray(points, dtype=np.float64) @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    homogeneous: Array = in_camera @ intrinsics.T
    depth = in_camera[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels: Array = homogeneous[:, :2] / homogeneous[:, 2:]
    return pixels, depth


def unproject(pixels: npt.ArrayLike, depth: npt.ArrayLike, intrinsics: Array, world_to_camera: Array) -> Array:
    """World points `[N, 3]` seen at `pixels [N, 2]` at planar `depth [N]` (metres): the inverse of `project`."""
    pixels_ = np.asarray(pixels, dtype=np.float64)
    rays: Array = np.concatenate([pixels_, np.ones((len(pixels_), 1))], axis=1) @ np.linalg.inv(intrinsics).T
    in_camera = rays * np.asarray(depth, dtype=np.float64)[:, None]
    rotation, translation = world_to_camera[:3, :3], world_to_camera[:3, 3]
    return np.asarray((in_camera - translation) @ rotation)


def pixel_centres(height: int, width: int) -> Array:
    """Coordinates `[H, W, 2]` (x, y) of the pixel centres."""
    y, x = np.mgrid[0:height, 0:width]
    return np.asarray(np.stack([x, y], axis=-1) + 0.5)


def _unit(vectors: Array, when_zero: str) -> Array:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if np.any(length < 1e-12):
        raise ValueError(when_zero)
    return np.asarray(vectors / length)
