"""From frames to what a model reads, and back.

Shape legend: V views, T times, t latent times, C h w numbers of a latent frame, H W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

Device = torch.device | str


class Codec(Protocol):
    """What lies between frames and a model."""

    def encode(self, frames: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [V, T, 3, H, W] in [-1, 1] of which those `given` [V, T] bool count, coded: [V, t, C, h, w], [V, t].

        ValueError, naming both sides, for frames that cannot be coded.
        """

    def decode(self, coded: Tensor) -> Tensor:
        """The inverse, for all frames: [V, t, C, h, w] to [V, T, 3, H, W] in [-1, 1]."""

    def to(self, device: Device) -> None:
        """Move what it holds."""

    def save(self, folder: Path) -> None:
        """Write what it holds beside a model's files."""


class PixelCodec:
    """Of models that read pixels: nothing lies between."""

    def encode(self, frames: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """See `Codec`."""
        return frames, given

    def decode(self, coded: Tensor) -> Tensor:
        """See `Codec`."""
        return coded.clamp(-1, 1)

    def to(self, device: Device) -> None:
        """See `Codec`."""

    def save(self, folder: Path) -> None:
        """See `Codec`."""
