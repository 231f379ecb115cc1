"""Who holds the others up: a worker that is behind, and one that does not run."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from fourreal.platform.storage import Storage
from fourreal.training.workers.ranks import Worker
from fourreal.training.workers.watchdog import Watchdog, take_report

TIMEOUT_S = 1.0


def test_a_worker_that_is_behind_is_named(tmp_path: Path) -> None:
    storage, ended = Storage(str(tmp_path)), [threading.Event() for _ in range(3)]
    watches = [Watchdog(storage, Worker(rank, 3), TIMEOUT_S, ended[rank].set) for rank in range(3)]
    for rank, watch in enumerate(watches):
        watch.mark(7, "waiting for data")
        if rank != 1:
            watch.mark(7, "backward pass")
    assert all(event.wait(60) for event in ended)
    report = take_report(storage)
    assert report is not None
    assert report[0] == 7
    assert "worker 1 (process" in report[1]
    assert "stands still after step 7 (waiting for data)" in report[1]
    assert "worker 0" not in report[1]
    assert take_report(storage) is None


def one_step(folder: str) -> None:
    Watchdog(Storage(folder), Worker(1, 2), TIMEOUT_S).mark(3, "backward pass")
    signal.pause()


@pytest.mark.slow
def test_a_process_that_does_not_run_is_named(tmp_path: Path) -> None:
    """Stopped by SIGSTOP at the very place where the others wait for it."""
    other = multiprocessing.get_context("spawn").Process(target=one_step, args=(str(tmp_path),), daemon=True)
    other.start()
    note = tmp_path / "workers" / "1.json"
    waiting = threading.Event()
    while not (note.exists() and json.loads(note.read_text())["step"] == 3):
        assert other.is_alive()
        waiting.wait(0.05)
    assert other.pid
    os.kill(other.pid, signal.SIGSTOP)
    ended = threading.Event()
    watch = Watchdog(Storage(str(tmp_path)), Worker(0, 2), TIMEOUT_S, ended.set)
    watch.mark(3, "backward pass")
    assert ended.wait(60)
    other.kill()
    report = take_report(Storage(str(tmp_path)))
    assert report is not None
    assert f"worker 1 (process {other.pid} on" in report[1]
    assert "does not run any more, last seen after step 3 (backward pass)" in report[1]


def test_steps_that_go_on_are_left_alone(tmp_path: Path) -> None:
    ended = threading.Event()
    with Watchdog(Storage(str(tmp_path)), Worker(0, 1), 2.0, ended.set) as watch:
        for step in range(60):
            watch.mark(step, "waiting for data")
            assert not ended.wait(0.05)
    assert take_report(Storage(str(tmp_path))) is None
