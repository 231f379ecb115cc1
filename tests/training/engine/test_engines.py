"""What the engines' options do: parts of a batch, clipping, running means, bfloat16, offloading, compilation.

The plain-torch engine is held to what a formula says, DeepSpeed's to the plain-torch engine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_runs import deepspeed_engine, run, settings_for, torch_engine

from fourreal.platform.errors import UserError
from fourreal.training.engine.base import Engine
from fourreal.training.stage.settings import StageSettings

MakeFolder = Callable[..., str]

ACCUMULATED: dict[str, Any] = {
    "engine": {"micro_batches": 2},
    "optimizer": {"clip_norm": 0.2, "ema_decay": 0.9, "weight_decay": 0.1, "betas": (0.8, 0.9)},
}


def with_engine(fields: dict[str, Any], **engine: Any) -> dict[str, Any]:
    return {**fields, "engine": {"kind": "torch", **fields.get("engine", {}), **engine}}


def assert_close(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor], **tolerance: float) -> None:
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def steps_of(engine: Engine, settings: StageSettings, saved: Path | None = None) -> list[tuple[float, float, float]]:
    reports = run(settings, engine, None, saved)
    return [(report.loss, report.norms.gradient, report.norms.update) for report in reports]


def assert_same_steps(engine: Engine, twin: Engine, settings: StageSettings, tolerance: float = 2e-3) -> None:
    for step, expected in zip(steps_of(engine, settings), steps_of(twin, settings), strict=True):
        assert step == pytest.approx(expected, rel=tolerance)
    weights = {"atol": tolerance / 10, "rtol": tolerance}
    assert_close(twin.weights(), engine.weights(), **weights)
    assert_close(twin.weights(averaged=True), engine.weights(averaged=True), **weights)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_makes_the_same_step(make_folder: MakeFolder, parts: int) -> None:
    """Also where the parts have different numbers of unknown frames, which is so in the base stage."""
    folder = make_folder("a")
    whole, split = (settings_for(folder, **with_engine({}, micro_batches=count), steps=6) for count in (1, parts))
    engines = [torch_engine(settings) for settings in (whole, split)]
    expected, reports = (run(settings, e, None, None) for settings, e in zip((whole, split), engines, strict=True))
    for report, twin in zip(reports, expected, strict=True):
        assert report.loss == pytest.approx(twin.loss, rel=1e-5)
        assert report.norms.gradient == pytest.approx(twin.norms.gradient, rel=1e-4)
        assert report.batch.times == twin.batch.times
        assert report.batch.losses == pytest.approx(twin.batch.losses, rel=1e-4)
    assert_close(engines[0].weights(), engines[1].weights(), atol=1e-5, rtol=1e-3)


def test_norms_and_the_running_mean_are_what_they_say(make_folder: MakeFolder) -> None:
    settings = settings_for(make_folder("a"), optimizer={"ema_decay": 0.5, "clip_norm": 0.0})
    engine = torch_engine(settings)
    mean = {name: tensor.clone() for name, tensor in engine.weights().items()}
    assert_close(mean, engine.weights(averaged=True), atol=0, rtol=0)
    for number in range(1, 8):
        before = {name: tensor.clone() for name, tensor in engine.weights().items()}
        inputs = (torch.rand(2, 3, 3, 16, 24), torch.full((2,), 0.5), torch.zeros(2, 3, dtype=torch.bool))
        engine.backward(engine.forward(*inputs, torch.zeros(2, dtype=torch.int64)).square().mean())
        gradient = torch.stack([p.grad.norm() for p in engine.model.parameters() if p.grad is not None]).norm()
        norms = engine.step(1e-2, norm_limit=0.0 if number == 3 else torch.inf)
        assert norms.gradient == pytest.approx(float(gradient), rel=1e-5)
        after = engine.weights()
        change = torch.stack([(after[name] - before[name]).norm() for name in after]).norm()
        assert norms.update == pytest.approx(float(change), rel=1e-4)
        assert (norms.update == 0) == (number == 3)  # a step that is not taken counts for nothing
        if number != 3:
            taken = number if number < 3 else number - 1
            decay = min(0.5, (1 + taken) / (10 + taken))
            mean = {name: decay * tensor + (1 - decay) * after[name] for name, tensor in mean.items()}
    assert_close(mean, engine.weights(averaged=True), atol=1e-6, rtol=1e-5)
    assert any(not torch.equal(mean[name], tensor) for name, tensor in engine.weights().items())


def test_with_a_running_mean_and_parts_a_resumed_run_is_the_same(make_folder: MakeFolder, tmp_path: Path) -> None:
    settings = settings_for(make_folder("a"), **with_engine(ACCUMULATED))
    whole, again = torch_engine(settings), torch_engine(settings)
    run(settings, whole, None, tmp_path / "checkpoint")
    run(settings, again, tmp_path / "checkpoint", None)
    for averaged in (False, True):
        assert_close(whole.weights(averaged=averaged), again.weights(averaged=averaged), atol=0, rtol=0)


@pytest.mark.parametrize("option", [{"activation_checkpointing": True}, {"compile": "aot_eager"}])
def test_options_that_change_no_number(make_folder: MakeFolder, option: dict[str, Any]) -> None:
    folder = make_folder("a")
    plain, other = (settings_for(folder, **with_engine({}, **fields), steps=4) for fields in ({}, option))
    assert_same_steps(torch_engine(other), torch_engine(plain), plain, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_deepspeed_accumulates_clips_and_averages_as_torch_does(
    make_folder: MakeFolder, tmp_path: Path, process_group: None, stage: int
) -> None:
    settings = settings_for(make_folder("a"), **with_engine(ACCUMULATED, zero_stage=stage))
    sharded, again = deepspeed_engine(settings), deepspeed_engine(settings)
    assert_same_steps(sharded, torch_engine(settings), settings)
    steps_of(deepspeed_engine(settings), settings, tmp_path / "checkpoint")
    run(settings, again, tmp_path / "checkpoint", None)
    for averaged in (False, True):
        assert_close(sharded.weights(averaged=averaged), again.weights(averaged=averaged), atol=0, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_bfloat16_is_near_float32_and_the_same_in_both_engines(
    make_folder: MakeFolder, process_group: None, stage: int
) -> None:
    folder = make_folder("a")
    exact = settings_for(folder, steps=6)
    rounded = settings_for(folder, **with_engine({}, precision="bf16", zero_stage=stage), steps=6)
    sharded, twin = deepspeed_engine(rounded), torch_engine(rounded)
    reports, expected = steps_of(sharded, rounded), steps_of(twin, rounded)
    unrounded = steps_of(torch_engine(exact), exact)
    for step, same, near in zip(reports, expected, unrounded, strict=True):
        assert step == pytest.approx(same, rel=0.02)
        assert step[0] == pytest.approx(near[0], rel=0.05)
    assert reports[-1][0] != pytest.approx(unrounded[-1][0], rel=1e-6)  # it did round
    assert all(tensor.dtype == torch.float32 for tensor in sharded.weights().values())


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "places"), [(2, ("cpu", "none")), (3, ("cpu", "cpu"))])
def test_offloading_changes_no_number(
    make_folder: MakeFolder, process_group: None, stage: int, places: tuple[str, str]
) -> None:
    offload = {"offload_optimizer": places[0], "offload_weights": places[1], "zero_stage": stage}
    settings = settings_for(make_folder("a"), **with_engine(ACCUMULATED, **offload, kind="deepspeed"))
    assert_same_steps(deepspeed_engine(settings), torch_engine(settings), settings)


@pytest.mark.slow
def test_deepspeed_compiles(make_folder: MakeFolder, process_group: None) -> None:
    folder = make_folder("a")
    plain, compiled = (settings_for(folder, engine={"compile": backend}, steps=2) for backend in ("none", "aot_eager"))
    assert_same_steps(deepspeed_engine(compiled), torch_engine(plain), plain)


def test_without_a_compiler_nothing_is_compiled(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(make_folder("a"), **with_engine({}, compile="inductor"))
    torch_engine(settings)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"needs a C.. compiler, and there is no no-such-compiler here"):
        torch_engine(settings)


def test_nvme_without_a_gpu_is_refused(make_folder: MakeFolder, process_group: None, tmp_path: Path) -> None:
    offload = {"kind": "deepspeed", "zero_stage": 3, "offload_optimizer": "nvme", "nvme_folder": str(tmp_path)}
    settings = settings_for(make_folder("a"), engine=offload)
    with pytest.raises(UserError, match="moves what a GPU holds, and there is none"):
        deepspeed_engine(settings)
