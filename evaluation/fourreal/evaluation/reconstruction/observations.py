"""What a reconstruction is fitted to: the frames of a grid, their cameras, and the room that they look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fourreal.evaluation.reconstruction.projection import Camera
from fourreal.platform.cameras import camera_centre
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid

Array = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_MOST_SKEW = 1e-3
_LEAST_BASELINE = 1e-4
"""Of the distance to what is looked at: cameras nearer to each other than this see one picture."""
_LEAST_TURN = 1e-4
"""Radians by which the axes must differ for the place where they meet to be told."""


@dataclass(frozen=True, eq=False)
class Observations:
    """frames: [V, T, H, W, 3], 0 to 1; mask: [V, T, H, W], 0 to 1, or None; one camera for each view."""

    frames: Tensor
    mask: Tensor | None
    cameras: tuple[Camera, ...]

    @classmethod
    def of_grid(cls, grid: Grid) -> Self:
        """From a grid with cameras. Raises UserError when it has none, or they stand in no usable way."""
        if grid.intrinsics is None or grid.world_to_camera is None:
            raise UserError(f"grid {grid.key!r} has no cameras: --cameras colmap estimates them")
        return cls.of_arrays(f"grid {grid.key!r}", grid.frames, grid.mask, grid.intrinsics, grid.world_to_camera)

    @classmethod
    def of_arrays(cls, whose: str, frames: Bytes, mask: Bytes | None, intrinsics: Array, poses: Array) -> Self:
        """From frames uint8 `[V, T, H, W, 3]`, mask uint8 `[V, T, H, W]`, intrinsics `[V, 3, 3]` and world-to-camera
        `[V, 4, 4]`. Raises UserError as `check_cameras` does."""
        check_cameras(whose, intrinsics, poses)
        H, W = frames.shape[2:4]
        return cls(
            torch.from_numpy(frames).float() / 255,
            None if mask is None else torch.from_numpy(mask).float() / 255,
            tuple(
                Camera(torch.from_numpy(k).float(), torch.from_numpy(w).float(), H, W)
                for k, w in zip(intrinsics, poses, strict=True)
            ),
        )

    def halved(self) -> Self:
        """At half the height and width, each pixel the mean of four; an odd last row or column is left out."""
        V, T, H, W, _ = self.frames.shape
        frames = functional.avg_pool2d(self.frames.permute(0, 1, 4, 2, 3).reshape(V * T, 3, H, W), 2)
        half = torch.diag(torch.tensor([0.5, 0.5, 1.0])).to(self.frames)
        return replace(
            self,
            frames=frames.view(V, T, 3, H // 2, W // 2).permute(0, 1, 3, 4, 2),
            mask=None if self.mask is None else functional.avg_pool2d(self.mask, 2),
            cameras=tuple(Camera(half @ c.intrinsics, c.world_to_camera, H // 2, W // 2) for c in self.cameras),
        )

    def to(self, device: str) -> Self:
        """On a device."""
        return replace(
            self,
            frames=self.frames.to(device),
            mask=None if self.mask is None else self.mask.to(device),
            cameras=tuple(
                replace(c, intrinsics=c.intrinsics.to(device), world_to_camera=c.world_to_camera.to(device))
                for c in self.cameras
            ),
        )

    def room(self) -> Room:
        """The ball that all cameras look at."""
        poses = np.stack([camera.world_to_camera.double().cpu().numpy() for camera in self.cameras])
        centres, forward = camera_centre(poses), poses[:, 2, :3]
        target = _meeting_point(centres, forward)
        distance = float(np.median(np.linalg.norm(centres - target, axis=1)))
        half = float(np.median([camera.height / (2 * float(camera.intrinsics[1, 1])) for camera in self.cameras]))
        return Room(torch.from_numpy(target).to(self.frames), distance * half)


def check_cameras(whose: str, intrinsics: Array, poses: Array) -> None:
    """Raise UserError where cameras are no cameras, or stand in no way that shows depth."""
    if not (np.isfinite(intrinsics).all() and np.isfinite(poses).all()):
        raise UserError(f"the cameras of {whose} are not finite")
    if (intrinsics[:, [0, 1], [0, 1]] <= 0).any():
        raise UserError(f"the cameras of {whose} have no focal length")
    rotations = poses[:, :3, :3]
    skew = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max()
    if skew > _MOST_SKEW or (np.linalg.det(rotations) < 0).any():
        raise UserError(f"the cameras of {whose} are skewed: world-to-camera must turn and move, and nothing else")
    if len(poses) < 2:
        raise UserError(f"{whose} has one view: a scene is seen from two at least")
    centres, forward = camera_centre(poses), poses[:, 2, :3]
    baseline = np.linalg.norm(centres - centres[0], axis=1).max()
    target = _meeting_point(centres, forward)
    ahead = ((target - centres) * forward).sum(axis=1)
    if baseline <= _LEAST_BASELINE * np.nan_to_num(ahead).max(initial=0.0):
        raise UserError(f"the cameras of {whose} all stand in one place: nothing can be triangulated")
    if not ahead.min() > 0:
        raise UserError(f"the cameras of {whose} look at no common place: their axes do not meet before them")


def _meeting_point(centres: Array, forward: Array) -> Array:
    """The point [3] nearest to all optical axes: least squares of (I - f f^T)(x - c); NaN for parallel axes."""
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    matrix = across.sum(axis=0)
    if np.linalg.eigvalsh(matrix)[0] < _LEAST_TURN**2 * len(centres):
        return np.full(3, np.nan)
    return np.asarray(np.linalg.solve(matrix, (across @ centres[..., None]).sum(axis=0)[:, 0]))


@dataclass(frozen=True, eq=False)
class Room:
    """A ball: centre [3] and radius `extent` (world units), as high as the image at the centre's distance."""

    centre: Tensor
    extent: float
