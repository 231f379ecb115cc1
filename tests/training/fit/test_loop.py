"""The loop without Ray: losses, resume to the bit, and the two engines beside each other."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from loop_runs import ALONE, CPU, deepspeed_engine, run, settings_for, torch_engine

from fourreal.training.checkpoint.snapshots import copied
from fourreal.training.engine.optimizer import learning_rate
from fourreal.training.engine.torch import TorchEngine
from fourreal.training.fit import train_state
from fourreal.training.fit.guard import Guard
from fourreal.training.fit.loop import batch_stream
from fourreal.training.fit.losses import LossRecord
from fourreal.training.fit.train_state import TrainState
from fourreal.training.model import PixelBackbone, PixelConfig, load_model, save_pretrained
from fourreal.training.settings.groups import EngineSettings, OptimizerSettings
from fourreal.training.stage.assembly import finished_model, model_skeleton
from fourreal.training.workers.ranks import Worker

MakeFolder = Callable[..., str]


def test_a_resumed_run_equals_an_undisturbed_one(make_folder: MakeFolder, tmp_path: Path) -> None:
    settings = settings_for(make_folder("a"))
    whole = torch_engine(settings)
    all_reports = run(settings, whole, None, tmp_path / "checkpoint")
    again = torch_engine(settings)
    later = run(settings, again, tmp_path / "checkpoint", None)
    assert [report.step for report in later] == list(range(6, 13))
    assert [report.loss for report in later] == [report.loss for report in all_reports[5:]]
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, again.weights()[name]), name


def test_the_loss_falls(make_folder: MakeFolder) -> None:
    settings = settings_for(make_folder("a"), steps=60)
    reports = run(settings, torch_engine(settings), None, None)
    losses = [report.loss for report in reports]
    assert np.mean(losses[-15:]) < 0.5 * np.mean(losses[:15])
    assert all(np.isfinite(report.norms.gradient) for report in reports)


def test_what_lora_learnt_is_in_the_exported_weights(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder("a")
    base = PixelBackbone(PixelConfig.from_dict(settings_for(folder).model.config))
    for parameter in base.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_pretrained(base, tmp_path / "base")
    settings = settings_for(folder, str(tmp_path / "base"), model={"architecture": "fused", "train": "lora"}, steps=4)
    engine = torch_engine(settings, load_model(tmp_path / "base", "base"))
    run(settings, engine, None, None)
    model = finished_model(model_skeleton(settings), copied(engine.weights()))
    save_pretrained(model, tmp_path / "grid")
    exported = load_model(tmp_path / "grid", "grid", architecture="fused").backbone
    changed = {
        name for name, tensor in base.state_dict().items() if not torch.equal(tensor, exported.state_dict()[name])
    }
    attention = {name for name, _ in base.named_parameters() if ".attention." in name and name.endswith("weight")}
    assert changed == {name for name in attention if "norm" not in name} | {"context_embedding.weight"}
    clean = torch.rand(1, 3, 3, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    inputs = (clean, torch.ones(1), torch.zeros(1, 3, 3, dtype=torch.bool))
    with torch.no_grad():
        expected = engine.model.eval()(*inputs)
        torch.testing.assert_close(load_model(tmp_path / "grid", "grid")(*inputs), expected, rtol=1e-4, atol=1e-5)


def test_random_states_come_back(make_folder: MakeFolder, tmp_path: Path) -> None:
    settings = settings_for(make_folder("a"))
    engine, noise = torch_engine(settings), torch.Generator().manual_seed(1)
    state = TrainState(
        4, batch_stream(settings, ALONE, None).position, LossRecord(3, [1.0], [2.0]), Guard(settings.guard)
    )
    train_state.snapshot(engine, state, noise, ALONE, "run-1").write(tmp_path)

    def draw() -> tuple[float, ...]:
        return (random.random(), np.random.rand(), float(torch.rand(())), float(torch.rand((), generator=noise)))

    expected = draw()
    draw()
    assert train_state.restore(tmp_path, engine, noise, ALONE, settings.guard) == state
    assert draw() == expected
    # Two workers, where one was: at the same place, with noise of their own.
    drawn = []
    for rank in (0, 1):
        noise = torch.Generator().manual_seed(1)
        assert train_state.restore(tmp_path, engine, noise, Worker(rank, 2), settings.guard) == state
        drawn.append(float(torch.rand((), generator=noise)))
    assert drawn[0] != drawn[1]


def test_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(step, 1000, OptimizerSettings(lr=1.0)) for step in range(1000)]
    assert rates[0] < 0.05
    assert max(rates) == rates[49] == 1.0
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_loss_record_keeps_both_ends() -> None:
    record = LossRecord(window=2)
    for loss in (5.0, 4.0, 3.0, 2.0, 1.0):
        record.add(loss)
    assert (record.start, record.end) == (4.5, 1.5)
    assert LossRecord.from_json(record.to_json()) == record


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_deepspeed_computes_what_torch_computes(
    make_folder: MakeFolder, tmp_path: Path, process_group: None, stage: int
) -> None:
    settings = settings_for(make_folder("a"), engine={"zero_stage": stage})
    plain, sharded = torch_engine(settings), deepspeed_engine(settings)
    expected = run(settings, plain, None, None)
    reports = run(settings, sharded, None, tmp_path / "checkpoint")
    for report, twin in zip(reports, expected, strict=True):
        assert report.loss == pytest.approx(twin.loss, rel=1e-4)
        assert report.norms.gradient == pytest.approx(twin.norms.gradient, rel=1e-3)
        assert report.norms.update == pytest.approx(twin.norms.update, rel=1e-3)
    for name, tensor in plain.weights().items():
        torch.testing.assert_close(sharded.weights()[name], tensor, atol=1e-4, rtol=1e-3)
    resumed = deepspeed_engine(settings)
    run(settings, resumed, tmp_path / "checkpoint", None)
    for name, tensor in sharded.weights().items():
        assert torch.equal(resumed.weights()[name], tensor), name


def test_frozen_weights_have_no_optimizer_state(make_folder: MakeFolder) -> None:
    model = PixelBackbone(PixelConfig.from_dict(settings_for(make_folder("a")).model.config))
    model.requires_grad_(False)
    model.head_linear.requires_grad_(True)
    engine = TorchEngine(model, CPU, OptimizerSettings(), EngineSettings())
    before = engine.weights()["patch_embedding.weight"].clone()
    engine.backward(engine.model.head_linear(torch.ones(1, model.config.hidden_dim)).sum())
    engine.step(0.1)
    assert len(engine._optimizer.state) == 2
    assert torch.equal(engine.weights()["patch_embedding.weight"], before)


def test_the_loop_needs_no_ray() -> None:
    code = (
        "import sys, fourreal.training.fit.loop; print([n for n in ('ray', 'deepspeed', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
