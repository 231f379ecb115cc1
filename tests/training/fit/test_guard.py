"""Steps that are not taken: batches that are not finite, spikes, rollbacks, in both engines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loop_runs import deepspeed_engine, run, settings_for, torch_engine

from fourreal.training.data.batches import Batch, DataPosition, Prefetcher
from fourreal.training.data.pixels import to_model
from fourreal.training.engine.base import Engine
from fourreal.training.fit.guard import Guard
from fourreal.training.settings.groups import GuardSettings
from fourreal.training.stage.settings import StageSettings
from fourreal.training.workers.stopping import Stopped

MakeFolder = Callable[..., str]
MakeEngine = Callable[[StageSettings], Engine]
Poison = Callable[..., None]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """Batches of these numbers hold NaN, as a broken decoder would make them."""
    make = Prefetcher.next

    def batches(*numbers: int) -> None:
        def poisoned(prefetcher: Prefetcher) -> tuple[Batch, DataPosition]:
            batch, position = make(prefetcher)
            if position.batches - 1 in numbers:
                batch = replace(batch, frames=to_model(batch.frames) * math.nan)
            return batch, position

        monkeypatch.setattr(Prefetcher, "next", poisoned)

    return batches


@pytest.fixture(params=["torch", pytest.param(0, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow),
                        pytest.param(3, marks=pytest.mark.slow)])  # fmt: skip
def make_engine(request: pytest.FixtureRequest, process_group: None) -> MakeEngine:
    """The torch engine, and DeepSpeed's at several ZeRO stages."""

    def make(settings: StageSettings) -> Engine:
        if request.param == "torch":
            return torch_engine(settings)
        return deepspeed_engine(replace(settings, engine=replace(settings.engine, zero_stage=request.param)))

    return make


def copied(engine: Engine) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in engine.weights().items()}


def assert_equal(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name


def test_a_step_beyond_the_limit_leaves_no_trace(make_folder: MakeFolder, make_engine: MakeEngine) -> None:
    """Neither in the weights nor in the optimizer: the steps after it are those of an engine that never saw it."""
    settings = settings_for(make_folder("a"))
    disturbed, calm = make_engine(settings), make_engine(settings)
    frames, given = torch.rand(2, 3, 3, 16, 24), torch.zeros(2, 3, dtype=torch.bool)

    def step(engine: Engine, scale: float, limit: float) -> float:
        prediction = engine.forward(frames, torch.full((2,), 0.5), given, torch.zeros(2, dtype=torch.int64))
        engine.backward(scale * (prediction - 1).square().mean())
        return engine.step(1e-2, limit).gradient

    for engine in (disturbed, calm):
        assert step(engine, 1.0, math.inf) > 0
    before = copied(disturbed)
    assert step(disturbed, 1e6, 1e3) > 1e3
    assert_equal(copied(disturbed), before)
    assert not math.isfinite(step(disturbed, math.nan, math.inf))
    assert_equal(copied(disturbed), before)
    for engine in (disturbed, calm):
        step(engine, 1.0, math.inf)
    assert_equal(copied(disturbed), copied(calm))
    assert any(not torch.equal(tensor, before[name]) for name, tensor in copied(disturbed).items())


def test_poisoned_batches_are_skipped(
    make_folder: MakeFolder, make_engine: MakeEngine, poison: Poison, tmp_path: Path
) -> None:
    settings = settings_for(make_folder("a"), steps=8)
    poison(0, 4)
    engine = make_engine(settings)
    reports = run(settings, engine, None, tmp_path / "checkpoint")
    assert [report.step for report in reports if not report.taken] == [1, 5]
    assert all(tensor.isfinite().all() for tensor in engine.weights().values())
    assert all(math.isfinite(report.loss) for report in reports if report.taken)


def test_after_too_many_skips_the_last_checkpoint_and_other_data(
    make_folder: MakeFolder, poison: Poison, tmp_path: Path
) -> None:
    settings = settings_for(make_folder("a"), steps=12, guard={"max_skips": 3})  # a checkpoint at step 5
    poison(6, 7, 8)
    engine = torch_engine(settings)
    reports = run(settings, engine, None, tmp_path / "checkpoint")
    assert [report.step for report in reports] == [*range(1, 10), *range(6, 13)]
    assert [report.taken for report in reports] == [True] * 6 + [False] * 3 + [True] * 7


def test_rollbacks_are_bounded(make_folder: MakeFolder, poison: Poison, tmp_path: Path) -> None:
    settings = settings_for(make_folder("a"), steps=100, guard={"max_skips": 2, "max_rollbacks": 2})
    poison(*range(6, 100))
    with pytest.raises(Stopped, match=r"2 steps in a row up to step 7 .* after 2 rollbacks: look at the data"):
        run(settings, torch_engine(settings), None, tmp_path / "checkpoint")


def test_a_spike_is_far_above_the_recent_ones() -> None:
    guard = Guard(GuardSettings(spike_factor=10.0, max_skips=2, max_rollbacks=1))
    assert guard.norm_limit(1e9) == math.inf  # nothing to compare with yet
    for _ in range(10):
        guard.add(True, 2.0, 0.5)
    assert guard.norm_limit(19.0) == 5.0
    assert guard.norm_limit(21.0) == guard.norm_limit(math.nan) == guard.norm_limit(math.inf) == 0.0
    guard.add(False, 21.0, 0.5)
    assert guard.norm_limit(19.0) == 5.0  # what was skipped moves nothing
    guard.add(False, math.nan, math.nan)
    assert guard.wants_rollback
    assert Guard.from_json(guard.settings, guard.to_json()) == guard
