"""The model of time and cost: what it counts, and that its parts behave."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT

sys.path.append(str(ROOT / "infra"))

from cost_model import GPUS, Rendering, Stage

counts = st.integers(1, 5000)


@given(grids=counts, workers=counts, cores=counts, more=counts)
def test_more_workers_never_take_longer_and_never_less_than_their_share(
    grids: int, workers: int, cores: int, more: int
) -> None:
    model = Rendering(grid_cpu_s=2.0, asset_mb=1.0, grid_mb=1.0, start_s=3.0)
    wall_s = model.wall_s(grids, workers, cores)
    assert model.wall_s(grids, workers + more, cores + more) <= wall_s
    assert wall_s >= 3.0 + 2.0 * grids / min(workers, cores)
    assert model.wall_s(grids, workers, cores, source_mb_s=0.1) >= 3.0 + 10.0 * grids


def test_the_source_is_waited_for_from_the_cores_named_on() -> None:
    model = Rendering(grid_cpu_s=30.0, asset_mb=10.0, grid_mb=1.0)
    cores = model.cores_that_saturate(200.0)
    assert model.wall_s(10**6, cores // 2, cores // 2, 200.0) == model.wall_s(10**6, cores // 2, cores // 2)
    assert model.wall_s(10**6, 2 * cores, 2 * cores, 200.0) > model.wall_s(10**6, 2 * cores, 2 * cores)


@given(gpus=counts, samples=counts)
def test_a_step_is_no_faster_than_one_sample_and_no_slower_than_all_on_one(gpus: int, samples: int) -> None:
    stage = Stage("x", steps=1, samples=samples, operations=1000, trained=0)
    assert 1.0 <= stage.step_s(gpus, 1000.0, 1.0) <= samples
    assert stage.step_s(1, 1000.0, 1.0) == samples


@pytest.mark.slow
def test_the_command_prints_both_tables() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "infra/cost_model.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for stage in ("base-36x64", "base-72x128", "grid-pseudo4d", "grid-objaverse", "upsampler", *map(str, GPUS)):
        assert stage in done.stdout, stage
    assert "core-hours" in done.stdout
