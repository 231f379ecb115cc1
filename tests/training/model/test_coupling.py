"""The strength of synchronization: nothing at the start, and what was put in."""

from __future__ import annotations

import pytest
import torch

from fourreal.training.model import GridModel, PixelBackbone, PixelConfig
from fourreal.training.model.coupling import synchronization_strength
from fourreal.training.model.operations import counted


def model(architecture: str) -> GridModel:
    config = PixelConfig(height=16, width=16, patch_size=8, hidden_dim=32, depth=3, heads=2)
    return GridModel(PixelBackbone(config), architecture)


@pytest.mark.parametrize("architecture", ["soft", "hard"])
def test_strength_is_the_size_of_what_was_learnt(architecture: str) -> None:
    grid_model = model(architecture)
    assert synchronization_strength(grid_model) == (0, 0, 0)
    sync = grid_model.view_time.syncs[1]
    rotation, _ = torch.linalg.qr(torch.randn(64, 64))
    with torch.no_grad():
        if architecture == "soft":
            sync.exchange.weight += 0.3 * rotation
        else:
            sync.view.weight += 0.3 * torch.linalg.qr(torch.randn(32, 32))[0]
            sync.time.weight += 0.3 * torch.linalg.qr(torch.randn(32, 32))[0]
    assert synchronization_strength(grid_model) == pytest.approx((0, 0.3, 0), abs=1e-5)


def test_architectures_without_synchronization_have_none() -> None:
    assert synchronization_strength(model("sequential")) == ()


def test_as_much_is_counted_on_no_device_at_all() -> None:
    """Forward and backward, with a frozen part: on `meta` what the CPU really does."""

    def operations(device: str, frozen: bool) -> int:
        with torch.device(device):
            grid_model = model("soft")
            grid_model.backbone.requires_grad_(not frozen)
            frames, time = torch.zeros(1, 2, 3, 3, 16, 16), torch.ones(1)
            given = torch.zeros(1, 2, 3, dtype=torch.bool)
            return counted(lambda: grid_model(frames, time, given).square().mean().backward())

    whole, part = operations("cpu", False), operations("cpu", True)
    assert operations("meta", False) == whole
    assert operations("meta", True) == part
    with torch.no_grad():
        grid_model = model("soft")
        inputs = torch.zeros(1, 2, 3, 3, 16, 16), torch.ones(1), torch.zeros(1, 2, 3, dtype=torch.bool)
        forward = counted(lambda: grid_model(*inputs))
    assert 2.5 * forward < whole < 3.1 * forward
    assert forward < part < whole
