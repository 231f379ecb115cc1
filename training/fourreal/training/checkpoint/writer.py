"""Checkpoints off the critical path: a thread writes, sums and uploads a snapshot while training goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fourreal.training.checkpoint.snapshots import Snapshot
from fourreal.training.checkpoint.store import CheckpointStore


@dataclass(frozen=True)
class Saved:
    """How a checkpoint ended, the same on all workers but for the time."""

    step: int
    problem: str | None
    """What went wrong; None when the checkpoint is whole."""
    wall_s: float


class CheckpointWriter:
    """Saves one checkpoint at a time. All workers call its methods at the same steps.

    What the thread raises, other than problems of the storage, `wait` raises.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._future: Future[None] | None = None

    def save(self, step: int, snapshot: Snapshot, on_saved: Callable[[Saved], None]) -> None:
        """Begin to save a snapshot, once the one before it has been saved: two would need twice the memory.

        `on_saved` is called in the thread when it is over.
        """
        self.wait()
        self._future = self._pool.submit(self._save, step, snapshot, on_saved)

    def wait(self) -> None:
        """Return when nothing is being saved any more."""
        future, self._future = self._future, None
        if future is not None:
            future.result()

    def _save(self, step: int, snapshot: Snapshot, on_saved: Callable[[Saved], None]) -> None:
        began = time.monotonic()
        problem = self._store.save(step, snapshot.write)
        on_saved(Saved(step, problem, time.monotonic() - began))
