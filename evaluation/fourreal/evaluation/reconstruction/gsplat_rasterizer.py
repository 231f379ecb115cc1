"""The rasterizer on CUDA: gsplat's kernels behind the same function as ours (nerfstudio-project/gsplat, version 1.5).

Written against gsplat's interface, and in the tests run against a twin of it on the CPU; it has not met a GPU yet.
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor

from fourreal.evaluation.reconstruction.gaussians import Gaussians
from fourreal.evaluation.reconstruction.projection import BLUR_VARIANCE, NEAR, Camera
from fourreal.evaluation.reconstruction.rendering import Rendering
from fourreal.platform.errors import UserError


def rasterize_with_gsplat(gaussians: Gaussians, camera: Camera) -> Rendering:
    """The Gaussians over black; differentiable like ours. UserError where gsplat is not installed."""
    require_gsplat()
    from gsplat import rasterization

    pictures: Tensor
    pictures, alphas, facts = rasterization(
        means=gaussians.means,
        quats=gaussians.quaternions,
        scales=gaussians.log_scales.exp(),
        opacities=torch.sigmoid(gaussians.opacity_logits),
        colors=gaussians.colours,
        viewmats=camera.world_to_camera[None],
        Ks=camera.intrinsics[None],
        width=camera.width,
        height=camera.height,
        near_plane=NEAR,
        eps2d=BLUR_VARIANCE,
        packed=False,  # keeps `means2d` in the order of the Gaussians
        render_mode="RGB+ED",
    )
    return Rendering(
        colour=pictures[0, ..., :3],
        alpha=alphas[0, ..., 0],
        depth=pictures[0, ..., 3],
        means=facts["means2d"],
        drawn=(facts["radii"][0] > 0).all(dim=-1),
    )


def require_gsplat() -> None:
    """Raises UserError where gsplat is not installed."""
    try:
        importlib.import_module("gsplat")
    except ImportError:
        raise UserError(
            "splats on a GPU are drawn by gsplat, which is not installed: pip install gsplat, or use --device cpu"
        ) from None
