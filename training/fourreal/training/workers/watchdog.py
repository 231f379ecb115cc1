"""A worker that stands still holds up all the others, inside a collective that says nothing: who is it, and where?

Every worker writes now and then where it is into the output folder, from a thread. When a step does not end in time,
a worker that waits reads what the others wrote, leaves a sentence for people, and ends its process; Ray then starts
all workers anew. It does not ask the process group, whose own timeout names nobody and whose store may be in the very
process that stands still.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from fourreal.platform.storage import Storage
from fourreal.training.workers.ranks import Worker

HANG_FILE = "hang.json"
_FOLDER = "workers"
_LOOKS = 10
"""Notes written, and looks taken, in the time that a step may take."""
_COMPARED = 4
"""Looks from when a hang is noticed to when it is reported."""


@dataclass(frozen=True)
class Place:
    """Where a worker is."""

    rank: int
    step: int
    """Steps done."""
    turn: int
    """Places of this step that are behind: all workers pass the same ones."""
    doing: str
    host: str
    pid: int
    note_number: int
    """Grows for as long as the process runs at all."""


class Watchdog:
    """The watch over one worker's main thread; see `mark`. `end` is called, in the watch's thread, after a hang."""

    def __init__(
        self, storage: Storage, worker: Worker, timeout_s: float, end: Callable[[], None] = lambda: os._exit(1)
    ) -> None:
        self._storage, self._worker, self._timeout_s, self._end = storage, worker, timeout_s, end
        self._every_s = timeout_s / _LOOKS
        self._place = Place(worker.rank, 0, 0, "starting", socket.gethostname(), os.getpid(), 0)
        self._marked = time.monotonic()
        self._notes = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        self._thread.start()

    def mark(self, step: int, doing: str) -> None:
        """The main thread, `step` steps behind it, begins with something. All workers call it in the same order."""
        before = self._place
        turn = before.turn + 1 if before.step == step else 0
        self._place = Place(before.rank, step, turn, doing, before.host, before.pid, 0)
        self._marked = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        noticed: list[dict[int, Place]] = []
        while not self._closed.wait(self._every_s):
            place, still_s = self._place, time.monotonic() - self._marked
            try:
                self._notes += 1
                note = json.dumps({**asdict(place), "note_number": self._notes}).encode()
                self._storage.write(f"{_FOLDER}/{self._worker.rank}.json", note)
                if still_s < self._timeout_s:
                    noticed = []
                    continue
                noticed.append(self._places())
                if len(noticed) == _COMPARED:  # who wrote no note in this time does not run
                    self._report(place, noticed[0], noticed[-1])
                    self._end()
                    return
            except Exception as error:  # a full disk, or an object store that is away: the watch goes on
                logging.getLogger(__name__).warning("the watch could not leave its note: %s", error)

    def _report(self, place: Place, before: dict[int, Place], now: dict[int, Place]) -> None:
        if self._storage.exists(HANG_FILE):  # by another worker, which may have ended since
            return
        silent = {rank for rank, entry in now.items() if entry == before.get(rank)}
        reason = describe(list(now.values()), silent, self._timeout_s)
        self._storage.write(HANG_FILE, json.dumps({"step": place.step, "reason": reason}).encode())

    def _places(self) -> dict[int, Place]:
        names = {rank: f"{_FOLDER}/{rank}.json" for rank in range(self._worker.world)}
        return {
            rank: Place(**json.loads(self._storage.read(name)))
            for rank, name in names.items()
            if self._storage.exists(name)
        }


def describe(places: Sequence[Place], silent: Collection[int], timeout_s: float) -> str:
    """One sentence on who holds the others up: who does not run, or else who is behind."""
    first = min((place.step, place.turn) for place in places)
    late = [place for place in places if place.rank in silent]
    does = "does not run any more, last seen"
    if not late:
        late, does = [place for place in places if (place.step, place.turn) == first], "stands still"
    if len(late) == len(places) > 1:
        where = f"all {len(places)} workers stand still after step {late[0].step} ({late[0].doing})"
    else:
        where = ", ".join(
            f"worker {place.rank} (process {place.pid} on {place.host}) {does} after step {place.step} ({place.doing})"
            for place in late
        )
    return f"nothing happened for {timeout_s:.0f} s: {where}"


def take_report(storage: Storage) -> tuple[int, str] | None:
    """The step and the sentence of the last hang, which is forgotten with this; None when there was none."""
    if not storage.exists(HANG_FILE):
        return None
    document = json.loads(storage.read(HANG_FILE))
    storage.delete(HANG_FILE)
    return int(document["step"]), str(document["reason"])
