"""LPIPS v0.1 over AlexNet (Zhang, Isola, Efros, Shechtman, Wang 2018, section 3 and equation 1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fourreal.evaluation.networks.frames import Frames

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_TAPS = (1, 4, 7, 9, 11)
"""The five rectified layers in torchvision's numbering of `features`."""


class LPIPS(nn.Module):
    """Distance of images of one size; reads torchvision's AlexNet and the published linear layers by their names."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, alexnet: Path, linear: Path, device: str) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        )
        published = torch.load(alexnet, map_location="cpu", weights_only=True)
        prefix = "features."
        convolutions = {name.removeprefix(prefix): w for name, w in published.items() if name.startswith(prefix)}
        self.features.load_state_dict(convolutions)
        weights = torch.load(linear, map_location="cpu", weights_only=True)
        self.linear = nn.ParameterList([weights[f"lin{layer}.model.1.weight"] for layer in range(len(_TAPS))])
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])
        self.to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def distances(self, one: Frames, other: Frames) -> npt.NDArray[np.float64]:
        """uint8 `[N, H, W, 3]` twice to `[N]`."""
        return np.array([self(_image(a), _image(b)).item() for a, b in zip(one, other, strict=True)])

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """float32 `[N, 3, H, W]` in -1..1 twice to `[N]`."""
        layers = zip(self.linear, self._directions(one), self._directions(other), strict=True)
        distances = [(weight * (a - b) ** 2).sum(dim=1).mean(dim=(1, 2)) for weight, a, b in layers]
        return torch.stack(distances).sum(dim=0)

    def _directions(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features of the five layers, each position of unit length over the channels."""
        x = (images.to(self.shift.device) - self.shift) / self.scale
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                found.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return found


def _image(frame: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 127.5 - 1
