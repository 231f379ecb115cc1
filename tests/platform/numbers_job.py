"""A data job for tests, in a module that Ray's workers can import."""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fourreal.platform.datajob import DataJob, Item, ItemFailure
from fourreal.platform.datajob.items import Processor
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid, GridMeta


class Numbers:
    """Makes a grid of item i's number; what else happens to an item stands in a file, by number."""

    def __init__(self, faults: Path | None = None, pause_s: float = 0.0) -> None:
        self.faults = faults
        self.pause_s = pause_s
        self.asked: list[str] = []

    def process(self, item: Item) -> Grid:
        self.asked.append(item.key)
        time.sleep(self.pause_s)
        number = int(item.spec["number"])
        faults: dict[str, Any] = json.loads(self.faults.read_text()) if self.faults else {}
        fault = faults.get(str(number))
        if fault == "refuse":
            raise ItemFailure("count", "bad_number", f"{number} is bad", stderr_tail="native words")
        if fault == "flaky" and self.asked.count(item.key) < 2:
            raise ItemFailure("count", "flaky", "not now", retryable=True)
        if fault == "bug":
            raise ZeroDivisionError("nobody foresaw this")
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "die once":
            assert self.faults is not None
            self.faults.write_text("{}")
            os.kill(os.getpid(), signal.SIGKILL)
        frames = np.full((2, 2, 8, 8, 3), number, np.uint8)
        return Grid(frames=frames, meta=GridMeta(item.key))

    def close(self) -> None:
        pass


class Waiter:
    """Prepares numbers; what happens to one stands in `faults` by number: "refuse", or a file to wait for.

    Leaves a line for each in `log`: the number, and how many shards of `out` were done when it was asked for.
    """

    def __init__(self, out: Path, log: Path, faults: dict[str, str]) -> None:
        self.out, self.log, self.faults = out, log, faults

    def prepare(self, item: Item) -> None:
        number = str(item.spec["number"])
        self._note(f"prepare {number} {len(list(self.out.glob('shard-*.json')))}")
        fault = self.faults.get(number)
        if fault == "refuse":
            raise ItemFailure("fetch", "gone", f"{number} is gone", attempts=3)
        if fault is not None:
            deadline = time.monotonic() + 60
            while not (self.out / fault).exists():
                if time.monotonic() > deadline:
                    raise ItemFailure("fetch", "late", f"{fault} never came")
                time.sleep(0.05)

    def release(self, item: Item) -> None:
        self._note(f"release {item.spec['number']} 0")

    def _note(self, line: str) -> None:
        with self.log.open("a") as log:
            log.write(f"{line}\n")


def number_items(count: int) -> list[Item]:
    return [Item(f"n{i:03d}", f"number {i}", {"number": i, "sha256": "f" * 64}) for i in range(count)]


def numbers_job(
    out: Path, count: int = 10, *, faults: Path | None = None, pause_s: float = 0.0, **options: Any
) -> DataJob:
    """Two items in a shard, two workers."""
    options = {"settings": {"views": 2}, "items_per_shard": 2, "workers": 2} | options
    make: Callable[[], Processor] = functools.partial(Numbers, faults, pause_s)
    return DataJob("numbers", str(out), list_items=lambda: number_items(count), make_processor=make, **options)


def cannot_be_made() -> Processor:
    """As where a worker's machine lacks the model."""
    raise UserError("there is no model in /nowhere")


class SeesGpus(Numbers):
    """Leaves a file for each worker process: which GPUs it sees."""

    def __init__(self, folder: Path) -> None:
        super().__init__(pause_s=0.5)
        (folder / str(os.getpid())).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
