"""Losses by diffusion time and source, and shares of the device's peak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import settings_for

from fourreal.training.assembly import build_model
from fourreal.training.breakdown import LossBreakdown
from fourreal.training.model.operations import counted
from fourreal.training.utilization import OperationCounter, device_peak, memory_in_use


def test_losses_by_time_and_by_source() -> None:
    breakdown = LossBreakdown(["a/rendered", "s3://b/videos/", "c/rendered"])
    breakdown.add([0.1, 0.2, 1.0, 0.99], [1.0, 3.0, 5.0, 7.0], [0, 1, 2, 2])
    breakdown.add([0.5], [9.0], [1])
    assert breakdown.take() == {
        "loss_at_time/0.00-0.25": 2.0, "loss_at_time/1.00": 5.0, "loss_at_time/0.75-1.00": 7.0,
        "loss_at_time/0.50-0.75": 9.0, "loss_of_source/0-rendered": 1.0, "loss_of_source/videos": 6.0,
        "loss_of_source/2-rendered": 6.0,
    }  # fmt: skip
    assert breakdown.take() == {}


def test_operations_are_those_of_a_real_step(make_folder: Any, tmp_path: Path) -> None:
    settings = settings_for(make_folder("a"))
    model = build_model(settings, None)
    frames = (2, 3, 3, 16, 24)
    inputs = torch.rand(frames), torch.rand(2), torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)
    real = counted(lambda: model(*inputs).square().mean().backward())
    assert OperationCounter(settings)(frames) == pytest.approx(real, rel=0.02)


def test_a_peak_is_above_what_anything_reaches() -> None:
    device = torch.device("cpu")
    peak = device_peak(device)
    assert peak is not None
    assert 1e8 < peak < 1e14
    assert 0.05 < memory_in_use(device)["memory_gb"] < 1000
