"""A request to stop is seen by the one who looks, who waits for no object store."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from fourreal.platform.storage import Storage
from fourreal.training.workers import stopping
from fourreal.training.workers.stopping import REQUEST_FILE, StopWatch


def test_a_request_is_seen_once_the_store_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))
    storage.write(REQUEST_FILE, b"{}")
    monkeypatch.setattr(stopping, "_LOOK_EVERY_S", 0.0)
    answers, exists = threading.Event(), Storage.exists

    def late(at: Storage, name: str) -> bool:
        answers.wait(60)
        return exists(at, name)

    monkeypatch.setattr(Storage, "exists", late)
    watch, other = StopWatch(storage, looks=True), StopWatch(storage, looks=False)
    assert not any(watch.asked() for _ in range(3))
    answers.set()
    deadline = time.monotonic() + 60
    while not watch.asked() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watch.asked()
    assert not other.asked()
