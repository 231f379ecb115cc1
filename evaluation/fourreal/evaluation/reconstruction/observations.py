"""What a reconstruction is fitted to: the frames of a grid, their cameras, and the room that they look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from fourreal.evaluation.reconstruction.projection import Camera
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid


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
            raise UserError(f"grid {grid.key!r} has no cameras: a reconstruction needs them")
        matrices = np.concatenate([grid.intrinsics.ravel(), grid.world_to_camera.ravel()])
        if not np.isfinite(matrices).all() or (grid.intrinsics[:, [0, 1], [0, 1]] <= 0).any():
            raise UserError(f"the cameras of grid {grid.key!r} are not finite or have no focal length")
        cameras = tuple(
            Camera(torch.from_numpy(k).float(), torch.from_numpy(w).float(), grid.height, grid.width)
            for k, w in zip(grid.intrinsics, grid.world_to_camera, strict=True)
        )
        observations = cls(
            torch.from_numpy(grid.frames).float() / 255,
            None if grid.mask is None else torch.from_numpy(grid.mask).float() / 255,
            cameras,
        )
        if grid.views > 1 and observations.room().extent < 1e-6:
            raise UserError(f"the cameras of grid {grid.key!r} all stand in one place: nothing can be triangulated")
        return observations

    def room(self) -> Room:
        """The ball that all cameras look at."""
        rotations = torch.stack([c.world_to_camera[:3, :3] for c in self.cameras]).double()
        shifts = torch.stack([c.world_to_camera[:3, 3] for c in self.cameras]).double()
        centres = -(rotations.transpose(1, 2) @ shifts[..., None])[..., 0]
        forward = rotations[:, 2]
        # The point nearest to all optical axes: least squares of (I - f f^T)(x - c).
        across = torch.eye(3).double() - forward[:, :, None] * forward[:, None, :]
        target = torch.linalg.lstsq(across.reshape(-1, 3), (across @ centres[..., None]).reshape(-1, 1)).solution[:, 0]
        distance = (centres - target).norm(dim=1).median()
        half = torch.stack([torch.tensor(c.height) / (2 * c.intrinsics[1, 1].double()) for c in self.cameras]).median()
        return Room(target.float(), float(distance * half))


@dataclass(frozen=True, eq=False)
class Room:
    """A ball: centre [3] and radius `extent` (world units), as high as the image at the centre's distance."""

    centre: Tensor
    extent: float
