"""A checkpoint of two workers goes on with one, and the other way round, as if the number had never changed."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from fourreal.training.engine import resharding
from fourreal.training.engine.base import Engine
from fourreal.training.engine.torch import TorchEngine
from fourreal.training.model import PixelBackbone, PixelConfig
from fourreal.training.settings.groups import EngineSettings, OptimizerSettings
from fourreal.training.workers import ranks

STAGES = (0, 1, 2, 3)
OPTIMIZER = OptimizerSettings(ema_decay=0.9)


def model() -> PixelBackbone:
    torch.manual_seed(0)
    backbone = PixelBackbone(PixelConfig(height=16, width=24, patch_size=8, hidden_dim=32, depth=1, heads=2))
    backbone.patch_embedding.requires_grad_(False)  # as the grid stage freezes its base
    return backbone


def train(engine: Engine, steps: range) -> None:
    """The same samples on every worker, so that their number changes nothing."""
    for step in steps:
        draws = torch.Generator().manual_seed(step)
        frames, given = torch.rand(2, 3, 3, 16, 24, generator=draws), torch.zeros(2, 3, dtype=torch.bool)
        prediction = engine.forward(frames, torch.full((2,), 0.5), given, torch.zeros(2, dtype=torch.int64))
        engine.backward((prediction - 1).square().mean())
        engine.step(1e-2)


def phase(rank: int, world: int, folder: str, restored: int | None, end: int, saved_by: int) -> None:
    """Train to `end` from the checkpoint at a step, or from nothing; save there, and keep the weights."""
    from fourreal.training.engine.deepspeed import DeepSpeedEngine

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "DS_ACCELERATOR": "cpu"}
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{end}", rank=rank, world_size=world)
    for stage in STAGES:
        settings = EngineSettings(zero_stage=stage)  # type: ignore[arg-type]
        run = DeepSpeedEngine(model(), torch.device("cpu"), OPTIMIZER, settings, 2)
        if restored is not None:
            run.load(Path(folder, f"{stage}-{restored}"), saved_by=saved_by, shared=True)
        train(run, range(restored or 0, end))
        target = Path(folder, f"{stage}-{end}")
        for name, state in run.snapshot().items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, target / name)
        weights, averages = run.weights(), run.weights(averaged=True)
        if rank == 0:
            torch.save((weights, averages), f"{folder}/weights-{stage}-{end}.pt")
        dist.barrier()
    dist.destroy_process_group()


def test_workers_with_copies_of_their_own_leave_those_of_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of an object store's checkpoint lie side by side in the folder for temporary files of their host."""
    monkeypatch.setattr(resharding, "_convert", lambda source, target: target.mkdir())
    monkeypatch.setattr(ranks, "gather", lambda value: [value, value])
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    with resharding.universal(mine, "tag", rank=0, shared=False) as first:
        with resharding.universal(other, "tag", rank=1, shared=False) as second:
            assert (first / "tag").is_dir()
            assert (second / "tag").is_dir()
        assert (first / "tag").is_dir()
        with resharding.universal(mine, "tag", rank=0, shared=True) as third:  # beside the folder that all look at
            assert third.parent == tmp_path
    assert sorted(tmp_path.rglob("*")) == [mine, other]


@pytest.mark.slow
def test_the_number_of_workers_changes_and_nothing_else(tmp_path: Path) -> None:
    # Forked from a server that has imported DeepSpeed: each of five processes would take seconds for it.
    multiprocessing.set_forkserver_preload(["deepspeed", "fourreal.training.engine.deepspeed"])
    for workers, restored, end, saved_by in ((2, None, 3, 0), (1, 3, 6, 2), (2, 6, 9, 1)):
        arguments = (workers, str(tmp_path), restored, end, saved_by)
        mp.start_processes(phase, args=arguments, nprocs=workers, start_method="forkserver")
    assert not list(tmp_path.glob(".universal-*"))
    for end in (3, 6, 9):
        expected = TorchEngine(model(), torch.device("cpu"), OPTIMIZER, EngineSettings())
        train(expected, range(end))
        for stage in STAGES:
            weights, averages = torch.load(tmp_path / f"weights-{stage}-{end}.pt")
            torch.testing.assert_close(weights, expected.weights(), atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(averages, expected.weights(averaged=True), atol=1e-5, rtol=1e-4)
