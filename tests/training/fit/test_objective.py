"""The loss that training takes is the one that was asked for."""

from __future__ import annotations

import pytest
import torch

from fourreal.training.fit.objective import FlowObjective
from fourreal.training.model import PixelConfig
from fourreal.training.model.flow import TimeSampling

CONFIG = PixelConfig(height=8, width=8, patch_size=4, hidden_dim=32, depth=2, heads=2)


def test_the_clean_weight_reaches_the_loss() -> None:
    frames = torch.zeros(1, 3, 3, 8, 8, dtype=torch.uint8)
    drawn = {
        "frames": frames.movedim(2, -1),
        "given": torch.zeros(1, 3, dtype=torch.bool),
        "noise": torch.randn(1, 3, 3, 8, 8),
        "time": torch.tensor([0.5]),
    }

    def forward(noisy: torch.Tensor, *rest: object) -> torch.Tensor:
        return torch.zeros_like(noisy)

    errors = [
        FlowObjective(CONFIG, sampling).error(forward, drawn)
        for sampling in (TimeSampling(), TimeSampling(weight="clean"))
    ]
    assert errors[1][0, 0].item() == pytest.approx(errors[0][0, 0].item() / 4)
