"""What rank 0 passes on to an MLflow that is not there, or refuses something."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from loop_runs import ALONE, CPU, settings_for

from fourreal.platform.storage import Storage
from fourreal.training.engine.base import StepNorms
from fourreal.training.fit.guard import Guard
from fourreal.training.fit.loop import StepReport, batch_stream
from fourreal.training.fit.losses import LossRecord
from fourreal.training.fit.objective import BatchLoss
from fourreal.training.fit.train_state import TrainState
from fourreal.training.report import tracker as module
from fourreal.training.report.tracker import Tracker

MakeFolder = Callable[..., str]


class _Client:
    """Fails each call after a time, while it is away."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.away, self.takes_s = True, 0.0

    def log_batch(self, run_id: str, metrics: list[object]) -> None:
        self._answer("metrics")

    def log_artifact(self, run_id: str, local_path: str, folder: str) -> None:
        self._answer(folder)

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        self._answer(name)

    def _answer(self, what: str) -> None:
        self.tried.append(what)
        if self.away:
            time.sleep(self.takes_s)
            raise ConnectionError("refused")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> _Client:
    made = _Client()
    fake = SimpleNamespace(client=lambda: SimpleNamespace(MlflowClient=lambda: made))
    monkeypatch.setattr(module, "tracking", fake)
    monkeypatch.setattr(module, "_SLOW_S", 0.05)
    return made


@pytest.fixture
def tracker(client: _Client, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    monkeypatch.chdir(tmp_path)  # where --out is
    return Tracker(settings_for(make_folder("a")), "run-1", 1, CPU)


def test_a_server_that_is_away_holds_nobody_up(
    client: _Client, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.takes_s = 0.1
    for step in range(5):
        tracker.log({"loss": 1.0}, step)
    tracker.note("rollbacks", 1, 5, "one step back")
    tracker.log_picture("coupling", "unused.png")
    assert client.tried == ["metrics"]
    tracker.log_picture("samples", "unused.png", is_last=True)
    assert client.tried == ["metrics", "samples"]
    monkeypatch.setattr(tracker, "_away_until", 0.0)  # a minute later
    client.away = False
    tracker.log({"loss": 1.0}, 6)
    tracker.log({"loss": 1.0}, 7)
    tracker.flush()
    assert client.tried == ["metrics", "samples", "metrics", "metrics"]


def test_the_last_step_is_told_in_any_case(client: _Client, tracker: Tracker) -> None:
    settings = tracker._settings
    stream = batch_stream(settings, ALONE, None)
    client.takes_s = 0.1
    tracker.log({"loss": 1.0}, 0)
    batch = BatchLoss(1.0, (0.5,), (1.0,), (0,), (1, 3, 3, 16, 24))
    for step in (settings.steps - 1, settings.steps):
        report = StepReport(step, 1.0, batch, StepNorms(1.0, 1.0), True, 1e-3, 0.0, 0.1)
        tracker.add(report, TrainState(step, stream.position, LossRecord.for_steps(12), Guard(settings.guard)))
    tracker.flush()
    assert client.tried == ["metrics", "metrics"]


def test_what_is_refused_at_once_costs_nothing_else(client: _Client, tracker: Tracker) -> None:
    for step in range(3):
        tracker.log({"loss": 1.0}, step)
    tracker.flush()
    assert client.tried == ["metrics"] * 3


def test_a_store_that_takes_its_time_holds_up_no_step(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tracker._settings
    monkeypatch.setattr(module, "_WRITE_EVERY_S", 0.0)
    released, written = threading.Event(), list[int]()

    def write(storage: Storage, name: str, data: bytes) -> None:
        released.wait(60)
        written.append(json.loads(data)["step"])

    monkeypatch.setattr(Storage, "write", write)
    stream = batch_stream(settings, ALONE, None)
    batch = BatchLoss(1.0, (0.5,), (1.0,), (0,), (1, 3, 3, 16, 24))
    for step in range(1, settings.steps + 1):
        report = StepReport(step, 1.0, batch, StepNorms(1.0, 1.0), True, 1e-3, 0.0, 0.1)
        tracker.add(report, TrainState(step, stream.position, LossRecord.for_steps(12), Guard(settings.guard)))
    assert written == []
    released.set()
    tracker.flush()
    assert written == [1, settings.steps]
