"""What a worker does around a checkpoint, without Ray."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from loop_runs import CPU, settings_for

from fourreal.training.fit.guard import Guard
from fourreal.training.fit.loop import batch_stream
from fourreal.training.fit.losses import LossRecord
from fourreal.training.fit.train_state import TrainState
from fourreal.training.run import worker
from fourreal.training.stage.work_order import WorkOrder
from fourreal.training.workers.ranks import Worker

MakeFolder = Callable[..., str]


def test_a_sigterm_between_checkpoints_is_not_spent_on_validation(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TRACKING_URI", "HTTP_REQUEST_MAX_RETRIES", "HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_{name}", "5")  # and back to what it was, afterwards
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    monkeypatch.setattr(worker, "_device", lambda: CPU)
    held_out = {"data": (make_folder("b", start=20),), "samples": 4}
    settings = replace(settings_for(make_folder("a"), validation=held_out), out=str(tmp_path / "out"))
    second = Worker(1, 2)  # which has no tracker
    run = worker._WorkerRun(WorkOrder(settings, "run-1", "unused", {}), second)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"  # what a person sets stays
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "20"
    position = batch_stream(settings, second, None).position
    for step, validates in ((5, True), (7, False), (12, True)):  # every 5; SIGTERM; the last
        run._on_checkpoint(TrainState(step, position, LossRecord.for_steps(12), Guard(settings.guard)))
        run.writer.wait()
        assert (run.validation_loss is not None) == validates, step
        assert (tmp_path / f"out/checkpoints/step-{step:08d}/worker-1.json").is_file()
