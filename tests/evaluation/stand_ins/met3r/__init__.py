"""Stands in for mohammadasim98/met3r with its call and result; what it computes is its own."""

from __future__ import annotations

import torch
from torch import nn


class MEt3R(nn.Module):
    def __init__(self, img_size: int | None = 256) -> None:
        super().__init__()
        self.img_size = img_size
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        assert images.shape[1:] == (2, 3, self.img_size, self.img_size)
        assert float(images.abs().max()) <= 1
        return (self.scale * (images[:, 0] - images[:, 1]).abs().mean(dim=(1, 2, 3)),)
