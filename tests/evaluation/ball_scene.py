"""A scene whose truth is known: a ball of coloured Gaussians that rises, rendered by our rasterizer."""

from __future__ import annotations

import numpy as np
import torch

from fourreal.evaluation.reconstruction import Camera, Gaussians, rasterize
from fourreal.evaluation.reconstruction.environment import Environment
from fourreal.platform.cameras import intrinsics, orbit
from fourreal.platform.grid import Grid, GridMeta

V, T, H, W = 5, 3, 32, 40


def gaussians(count: int, seed: int = 0) -> Gaussians:
    draw = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 3, generator=draw)
    return Gaussians(
        means=0.5 * points / points.norm(dim=1, keepdim=True),
        log_scales=torch.full((count, 3), -2.6),
        quaternions=torch.randn(count, 4, generator=draw),
        opacity_logits=torch.full((count,), 4.0),
        colours=torch.rand(count, 3, generator=draw),
    )


def moving_ball(key: str = "ball") -> Grid:
    """A ball of coloured Gaussians that rises with time before a graded environment, rendered by our rasterizer."""
    poses = orbit(np.linspace(-0.5, 0.5, V), 0.3, 3.0)
    matrices = np.repeat(intrinsics(W, H, vertical_fov=0.8)[None], V, axis=0)
    ball, environment = gaussians(300), Environment(4, 8)
    with torch.no_grad():
        environment.picture[:] = torch.linspace(0.2, 0.6, 4)[None, None, :, None]
    frames, mask = np.empty((V, T, H, W, 3), np.uint8), np.empty((V, T, H, W), np.uint8)
    depth = np.empty((V, T, H, W), np.float32)
    for v in range(V):
        camera = Camera(torch.tensor(matrices[v]).float(), torch.tensor(poses[v]).float(), H, W)
        for t in range(T):
            raised = Gaussians(**{**ball.tensors(), "means": ball.means + torch.tensor([0.0, 0.0, 0.15 * t])})
            with torch.no_grad():
                made = rasterize(raised, camera, environment(camera))
            frames[v, t] = (made.colour.clamp(0, 1) * 255).round().byte().numpy()
            mask[v, t] = (made.alpha * 255).round().byte().numpy()
            depth[v, t] = torch.where(made.alpha > 0.5, made.depth, torch.inf).numpy()
    meta = GridMeta(key, fps=8.0, licence="CC0-1.0")
    return Grid(frames=frames, mask=mask, depth=depth, intrinsics=matrices, world_to_camera=poses, meta=meta)
