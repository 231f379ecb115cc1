"""Convolutions behind a transformer, which mend predicted frames by the given ones.

Shape legend: as in `references.py`; F frame axes (N, or V T).

A patch is predicted from tokens of its own: what moves by less than a patch, and where patches meet, is pixels' work.
The papers' models put out latents and have a decoder for it; on pixels nothing does. All else equal, it doubled what a
small model gained over the average of two copies (evaluation/README.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Refinement(nn.Module):
    """Predicted frames and their references to frames; zero at initialisation, so that a new model is without."""

    def __init__(self, references: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d((2 + references) * channels, hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(hidden, channels, 3, padding=1),
        )
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, predicted: Tensor, noisy: Tensor, time: Tensor, references: Tensor) -> Tensor:
        """Clean frames `predicted` [B, F, C, H, W], mended.

        noisy: the same shape; time: [B] or [B, F]; references: [B, F, R, C, H, W]
        """
        signal = (1 - time).view(*time.shape, *(1 for _ in predicted.shape[time.ndim :]))
        read = torch.cat([predicted, signal * noisy, references.flatten(-4, -3)], dim=-3)
        mended = self.layers(read.flatten(0, -4))
        return predicted + torch.unflatten(mended, 0, predicted.shape[:-3])
