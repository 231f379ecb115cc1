"""Stopping early and in order: SIGTERM to the driver or to a worker, and reasons that end a run on all workers.

The driver cannot reach its workers but through the output folder, so it leaves a request there. A worker that gets
SIGTERM itself (its node is about to go) only raises a flag; the loop tells the others after the step.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

REQUEST_FILE = "stop-request.json"
STOPPED_FILE = "stopped.json"
_LOOK_EVERY_S = 1.0

_terminated = threading.Event()


class Stopped(UserError):
    """All workers stop at the same place for the same reason; starting them again would not help."""


@contextmanager
def sigterm_asks(storage: Storage, grace_s: float) -> Iterator[None]:
    """In the driver: the first SIGTERM asks the workers to save and stop; a second, or the end of the grace, kills."""
    clear(storage)
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(grace_s, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True

    def ask(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, before)
        timer.start()
        storage.write(REQUEST_FILE, json.dumps({"signal": "SIGTERM"}).encode())

    signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)


def clear(storage: Storage) -> None:
    """Forget an earlier request and its answer."""
    storage.delete(REQUEST_FILE)
    storage.delete(STOPPED_FILE)


def write_reason(storage: Storage, reason: str) -> None:
    """Rank 0: tell the driver why there is no result."""
    storage.write(STOPPED_FILE, json.dumps({"reason": reason}).encode())


def read_reason(storage: Storage) -> str | None:
    """Why the workers stopped; None when they did not say."""
    return str(json.loads(storage.read(STOPPED_FILE))["reason"]) if storage.exists(STOPPED_FILE) else None


def raise_flag_on_sigterm() -> None:
    """In a worker's main thread: SIGTERM no longer ends the process, it makes `StopWatch` say so."""
    _terminated.clear()
    signal.signal(signal.SIGTERM, lambda number, frame: _terminated.set())


class StopWatch:
    """What one worker knows of being asked to stop; looks for a request of the driver once a second, from a thread:
    a step must not wait for an object store."""

    def __init__(self, storage: Storage, *, looks: bool) -> None:
        self.storage, self.looks = storage, looks
        self.requested = False
        self._looked = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stop-watch")
        self._looking: Future[None] | None = None

    def asked(self) -> bool:
        """Whether this worker has been asked to stop."""
        now = time.monotonic()
        if self.looks and now - self._looked >= _LOOK_EVERY_S and (self._looking is None or self._looking.done()):
            self._looked = now
            self._looking = self._thread.submit(self._look)
        return self.requested or _terminated.is_set()

    def _look(self) -> None:
        with contextlib.suppress(OSError):  # an object store that is away is asked again
            self.requested = self.requested or self.storage.exists(REQUEST_FILE)
