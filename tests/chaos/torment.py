"""What happens to a run: processes are killed, and its object store has bad days."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
from tests.chaos.family import Family, kind_of
from tests.faulty_s3 import FaultyS3, Request

_EXPIRED_EVERY_S = (120.0, 240.0)
_EXPIRED_FOR_S = 8.0
_UNLISTED_S = 4.0


@dataclass
class Killer:
    """Kills one process of the family that is set, again and again: first a kind is drawn, then one of that kind."""

    rng: random.Random
    every_s: tuple[float, float]
    """Least and most time from one kill to the next."""
    until: float
    """On the monotonic clock; later on nobody is killed."""
    family: Family | None = None
    killed: Counter[str] = field(default_factory=Counter)
    """By kind."""

    def start(self) -> None:
        """Begin, in a thread."""
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            time.sleep(self.rng.uniform(*self.every_s))
            if time.monotonic() > self.until:
                return
            if self.family is not None:
                self.strike(self.family)

    def strike(self, family: Family) -> None:
        """Kill one."""
        by_kind: dict[str, list[psutil.Process]] = {}
        for process in sorted(family.alive(), key=lambda process: process.pid):
            if kind := kind_of(process, family.root.pid):
                by_kind.setdefault(kind, []).append(process)
        if not by_kind:
            return
        kind = self.rng.choice(sorted(by_kind))
        victim = self.rng.choice(by_kind[kind])
        try:
            print(f"  kill -9 {victim.pid} ({kind}: {victim.name()})", flush=True)
            victim.kill()
            self.killed[kind] += 1
        except psutil.NoSuchProcess:  # it ended by itself
            return


class Weather:
    """Random faults of a store, by the request; now and then the credentials expire for some seconds."""

    def __init__(self, store: FaultyS3, rng: random.Random, until: float) -> None:
        self.store, self.rng, self.until = store, rng, until
        self._lock = threading.Lock()
        self._paused = False
        self.struck: Counter[str] = Counter()
        """By kind of fault."""
        threading.Thread(target=self._expire, daemon=True).start()
        store.refuses = lambda number: self._strikes("503", 0.03)
        store.resets = lambda request: request.method == "PUT" and self._strikes("reset", 0.02)
        store.loses_answer = lambda request: request.method == "PUT" and self._strikes("answer lost", 0.01)
        store.breaks_off = lambda request: self._fits(request) and self._strikes("broken off", 0.02)
        store.stalls_s = lambda request: 4.0 if self._fits(request) and self._strikes("stalled", 0.005) else 0.0
        store.unlisted_s = _UNLISTED_S

    @contextmanager
    def pause(self) -> Iterator[None]:
        """No faults for as long as the block lasts."""
        self._paused = True
        while self.store.expired:
            time.sleep(0.1)
        self.store.unlisted_s = 0.0
        try:
            yield
        finally:
            self._paused, self.store.unlisted_s = False, _UNLISTED_S

    @property
    def _is_foul(self) -> bool:
        return not self._paused and time.monotonic() < self.until

    def _fits(self, request: Request) -> bool:
        return request.method == "GET" and self._is_foul

    def _strikes(self, kind: str, probability: float) -> bool:
        with self._lock:
            strikes = self._is_foul and self.rng.random() < probability
            self.struck[kind] += strikes
            return strikes

    def _expire(self) -> None:
        while time.monotonic() < self.until:
            time.sleep(self.rng.uniform(*_EXPIRED_EVERY_S))
            if self._is_foul:
                self.struck["credentials expired"] += 1
                self.store.expired = True
                time.sleep(_EXPIRED_FOR_S)
                self.store.expired = False
