"""3D Gaussians to 2D Gaussians in an image (Zwicker et al. 2001, EWA splatting; the formulas of 3DGS and gsplat).

Shape legend: N Gaussians. Lengths in world units, image lengths in pixels with pixel centres at +0.5; cameras are
OpenCV, world-to-camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fourreal.evaluation.reconstruction.gaussians import Gaussians, rotation_matrices

BLUR_VARIANCE = 0.3
"""Square pixels added to every 2D Gaussian, so that none falls between pixel centres (3DGS, section 4)."""
LEAST_ALPHA = 1 / 255
"""What covers a pixel less than this leaves it as it is."""
NEAR = 0.01
"""Gaussians nearer to the camera's plane than this are not drawn."""
_FIELD_MARGIN = 0.3
"""The perspective is linearised within the field of view and this share of it around (3DGS and gsplat do so)."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera: intrinsics [3, 3], world_to_camera [4, 4], and the size of its image."""

    intrinsics: Tensor
    world_to_camera: Tensor
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Projected:
    """2D Gaussians: `means` [N, 2], `covariances` as xx, xy, yy [N, 3], `conics` (their inverses) [N, 3],
    `depths` [N]; `extents` [N, 2] is the half size of the box outside of which alpha is below `LEAST_ALPHA`, 0 for
    what is not drawn."""

    means: Tensor
    covariances: Tensor
    conics: Tensor
    depths: Tensor
    extents: Tensor


def project(gaussians: Gaussians, camera: Camera) -> Projected:
    """Project by the first-order approximation of the perspective at each mean; differentiable."""
    rotation, translation = camera.world_to_camera[:3, :3], camera.world_to_camera[:3, 3]
    points = gaussians.means @ rotation.T + translation
    depths = points[:, 2]
    safe = depths.clamp_min(NEAR)
    fx, fy = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    cx, cy = camera.intrinsics[0, 2], camera.intrinsics[1, 2]
    slope = points[:, :2] / safe[:, None]
    means = slope * torch.stack([fx, fy]) + torch.stack([cx, cy])
    x, y = _within_field(slope, camera).unbind(dim=1)
    zero = torch.zeros_like(safe)
    jacobian = torch.stack(
        [torch.stack([fx / safe, zero, -fx * x / safe], dim=1), torch.stack([zero, fy / safe, -fy * y / safe], dim=1)],
        dim=1,
    )
    # Covariance R S S R^T seen through J W is A A^T with A = J W R S.
    spread = jacobian @ rotation @ (rotation_matrices(gaussians.quaternions) * gaussians.log_scales.exp()[:, None])
    xx = spread[:, 0].square().sum(1) + BLUR_VARIANCE
    yy = spread[:, 1].square().sum(1) + BLUR_VARIANCE
    xy = (spread[:, 0] * spread[:, 1]).sum(1)
    determinant = xx * yy - xy.square()
    conics = torch.stack([yy, -xy, xx], dim=1) / determinant[:, None]
    covariances = torch.stack([xx, xy, yy], dim=1)
    extents = _extents(covariances.detach(), torch.sigmoid(gaussians.opacity_logits.detach()), depths.detach())
    return Projected(means, covariances, conics, depths, extents)


def _within_field(slope: Tensor, camera: Camera) -> Tensor:
    """Ratios x/z, y/z [N, 2], clamped to the field of view and a margin: beyond, the linearisation explodes."""
    size = slope.new_tensor([camera.width, camera.height])
    focal = torch.stack([camera.intrinsics[0, 0], camera.intrinsics[1, 1]])
    centre = torch.stack([camera.intrinsics[0, 2], camera.intrinsics[1, 2]])
    margin = _FIELD_MARGIN * 0.5 * size / focal
    low, high = -centre / focal - margin, (size - centre) / focal + margin
    return torch.maximum(torch.minimum(slope, high), low)


def _extents(covariances: Tensor, opacities: Tensor, depths: Tensor) -> Tensor:
    """Half sizes [N, 2] of the boxes around the ellipses `opacity * exp(-r^2 / 2) = LEAST_ALPHA`."""
    squared_radius = 2 * torch.log((opacities / LEAST_ALPHA).clamp_min(1e-12))
    drawn = (squared_radius > 0) & (depths > NEAR)
    radius = squared_radius.clamp_min(0).sqrt()
    return torch.where(drawn[:, None], radius[:, None] * covariances[:, [0, 2]].sqrt(), 0.0)
