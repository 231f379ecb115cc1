"""Operations of a step, and the device's peak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loop_runs import settings_for

from fourreal.training.model.operations import counted
from fourreal.training.report.utilization import OperationCounter, device_peak, memory_in_use
from fourreal.training.stage.assembly import build_model


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
