"""What lies behind everything: a colour for each direction, the same from everywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourreal.evaluation.reconstruction.projection import Camera


class Environment(nn.Module):
    """A small picture over azimuth and elevation, [1, 3, rows, columns], read between its points."""

    def __init__(self, rows: int = 24, columns: int = 48, colour: float = 0.5) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.full((1, 3, rows, columns), colour))

    def forward(self, camera: Camera) -> Tensor:
        """Colours [H, W, 3] behind the pixels of a camera."""
        rays = ray_directions(camera)
        at = torch.stack([torch.atan2(rays[..., 1], rays[..., 0]) / math.pi, rays[..., 2]], dim=-1)
        # The azimuth closes on itself: one column of each end stands on the other side as well.
        wrapped = functional.pad(self.picture, (1, 1, 0, 0), mode="circular")
        columns = self.picture.shape[-1]
        azimuth = at[..., 0] * columns / (columns + 2)
        found = functional.grid_sample(
            wrapped, torch.stack([azimuth, at[..., 1]], dim=-1)[None], align_corners=False, padding_mode="border"
        )
        return found[0].permute(1, 2, 0)

    def roughness(self) -> Tensor:
        """Mean squared difference of neighbours: what no camera sees takes the colour of what lies beside it."""
        across = self.picture - self.picture.roll(1, dims=3)
        return across.square().mean() + self.picture.diff(dim=2).square().mean()


def ray_directions(camera: Camera) -> Tensor:
    """Directions [H, W, 3] of length 1 in the world, through the centres of a camera's pixels."""
    across, down = (torch.arange(n).to(camera.intrinsics) + 0.5 for n in (camera.width, camera.height))
    y, x = torch.meshgrid(down, across, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    rays = pixels @ torch.linalg.inv(camera.intrinsics).T @ camera.world_to_camera[:3, :3]
    return functional.normalize(rays, dim=-1)
