"""The image loss of 3DGS: 0.8 L1 + 0.2 (1 - SSIM) (Kerbl et al. 2023, equation 7)."""

from __future__ import annotations

import torch
from torch import Tensor

_WINDOW_PX, _SIGMA_PX = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def image_loss(rendered: Tensor, true: Tensor) -> Tensor:
    """Both [H, W, 3], 0 to 1; a scalar."""
    return 0.8 * (rendered - true).abs().mean() + 0.2 * (1 - ssim(rendered, true))


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Mean structural similarity of two images [H, W, 3] over the windows inside (Wang et al. 2004); differentiable."""
    H, W, _ = one.shape
    maps = torch.stack([one, other, one * one, other * other, one * other]).permute(0, 3, 1, 2)
    mean_a, mean_b, aa, bb, ab = _windows(H, one) @ maps @ _windows(W, one).T
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * (ab - mean_a * mean_b) + _C2) / (aa - mean_a**2 + bb - mean_b**2 + _C2)
    similarity: Tensor = (luminance * structure).mean()
    return similarity


def _windows(length: int, like: Tensor) -> Tensor:
    """The Gaussian window at each of its places along an axis, [places, length].

    As a product of matrices: the backward pass of a convolution of one channel took a quarter of a fit's time.
    """
    size = min(_WINDOW_PX, length)
    offset = torch.arange(length).to(like) - torch.arange(length - size + 1).to(like)[:, None]
    inside = (offset >= 0) & (offset < size)
    weights = torch.exp(-(offset - (size - 1) / 2).square() / (2 * _SIGMA_PX**2)) * inside
    return weights / weights.sum(dim=1, keepdim=True)
