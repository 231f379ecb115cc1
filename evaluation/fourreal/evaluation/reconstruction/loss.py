"""The image loss of 3DGS: 0.8 L1 + 0.2 (1 - SSIM) (Kerbl et al. 2023, equation 7)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_WINDOW_PX, _SIGMA_PX = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def image_loss(rendered: Tensor, true: Tensor) -> Tensor:
    """Both [H, W, 3], 0 to 1; a scalar."""
    return 0.8 * (rendered - true).abs().mean() + 0.2 * (1 - ssim(rendered, true))


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Mean structural similarity of two images [H, W, 3] over the windows inside (Wang et al. 2004); differentiable."""
    H, W, _ = one.shape
    maps = torch.stack([one, other, one * one, other * other, one * other]).permute(0, 3, 1, 2).reshape(15, 1, H, W)
    size = min(_WINDOW_PX, H, W)
    line = torch.arange(size).to(one) - (size - 1) / 2
    kernel = torch.softmax(-line.square() / (2 * _SIGMA_PX**2), dim=0)
    smooth = functional.conv2d(functional.conv2d(maps, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    mean_a, mean_b, aa, bb, ab = smooth.view(5, 3, *smooth.shape[1:]).squeeze(2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * (ab - mean_a * mean_b) + _C2) / (aa - mean_a**2 + bb - mean_b**2 + _C2)
    similarity: Tensor = (luminance * structure).mean()
    return similarity
