"""Runs of the loop in this process, with either engine, for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import torch
from configs import SMALL, config_of

from fourreal.training.checkpoint.snapshots import Snapshot
from fourreal.training.engine.base import Engine
from fourreal.training.engine.torch import TorchEngine
from fourreal.training.fit import train_state
from fourreal.training.fit.guard import Guard
from fourreal.training.fit.loop import Hooks, StepReport, batch_stream, train
from fourreal.training.fit.losses import LossRecord
from fourreal.training.fit.train_state import TrainState
from fourreal.training.stage.assembly import build_model
from fourreal.training.stage.exports import Model
from fourreal.training.stage.settings import StageSettings, stage_settings
from fourreal.training.workers.ranks import Worker

CPU = torch.device("cpu")
ALONE = Worker(0, 1)


def settings_for(folder: str, base: str | None = None, **changes: object) -> StageSettings:
    fields: dict[str, object] = {
        "stage": "grid" if base else "base", "start_from": base, "model": {} if base else SMALL, "views": 3, "times": 3,
        "batch_size": 4, "workers": 1, "engine": {"kind": "torch"}, "steps": 12, "checkpoints": {"every": 5},
    }  # fmt: skip
    return stage_settings(config_of((folder,), "unused", **{**fields, **changes}))


def torch_engine(settings: StageSettings, base: Model | None = None) -> TorchEngine:
    return TorchEngine(build_model(settings, base), CPU, settings.optimizer, settings.engine)


def deepspeed_engine(settings: StageSettings) -> Engine:
    from fourreal.training.engine.deepspeed import DeepSpeedEngine

    model = build_model(settings, None)
    return DeepSpeedEngine(model, CPU, settings.optimizer, settings.engine, settings.shape.batch_size)


def run(settings: StageSettings, engine: Engine, restored: Path | None, saved: Path | None) -> list[StepReport]:
    """Train; save the first checkpoint into `saved`, as late as can be: when it is needed, or all is over."""
    noise = torch.Generator().manual_seed(3)
    if restored:
        start = train_state.restore(restored, engine, noise, ALONE, settings.guard)
    else:
        position = batch_stream(settings, ALONE, None).position
        start = TrainState(0, position, LossRecord.for_steps(settings.steps), Guard(settings.guard))
    reports: list[StepReport] = []
    taken: list[Snapshot] = []

    def on_checkpoint(state: TrainState) -> None:
        if saved and not taken:
            taken.append(train_state.snapshot(engine, state, noise, ALONE, "run-1"))

    def write() -> None:
        if saved and taken:
            saved.mkdir(exist_ok=True)
            taken[0].write(saved)

    def on_rollback(state: TrainState) -> TrainState:
        assert saved
        write()
        return train_state.restore(saved, engine, noise, ALONE, settings.guard)

    hooks = Hooks(lambda report, state: reports.append(report), on_checkpoint, on_rollback)
    train(settings, engine, ALONE, noise, start, hooks)
    write()
    return reports
