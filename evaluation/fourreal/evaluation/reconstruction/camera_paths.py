"""Cameras between those of a grid, for renderings that nobody took."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import torch
from torch import Tensor

from fourreal.evaluation.reconstruction.projection import Camera


def between(cameras: Sequence[Camera], position: float) -> Camera:
    """The camera at `position` (0: the first, 1: the last): centres and intrinsics blended, rotations turned evenly."""
    place = min(max(position, 0.0), 1.0) * (len(cameras) - 1)
    first = min(int(place), max(0, len(cameras) - 2))
    a, b, share = cameras[first], cameras[min(first + 1, len(cameras) - 1)], place - first
    rotation = _turn_between(a.world_to_camera[:3, :3], b.world_to_camera[:3, :3], share)
    centre = torch.lerp(_centre(a), _centre(b), share)
    pose = torch.eye(4).to(rotation)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ centre
    return Camera(torch.lerp(a.intrinsics, b.intrinsics, share), pose, a.height, a.width)


def there_and_back(frames: int) -> list[float]:
    """Positions of a path that goes from 0 to 1 and returns, slow at its ends."""
    return [0.5 - 0.5 * math.cos(2.0 * math.pi * i / max(1, frames - 1)) for i in range(frames)]


def _centre(camera: Camera) -> Tensor:
    return -camera.world_to_camera[:3, :3].T @ camera.world_to_camera[:3, 3]


def _turn_between(start: Tensor, end: Tensor, share: float) -> Tensor:
    """The rotation that lies `share` of the way along the shortest turn."""
    step, _ = cv2.Rodrigues((end @ start.T).double().cpu().numpy())
    partial, _ = cv2.Rodrigues(step * share)
    return torch.from_numpy(partial).to(start) @ start
