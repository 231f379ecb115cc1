"""What a person sees of a running data job: one live line."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Literal

from fourreal.platform.datajob.note import JobNote
from fourreal.platform.datajob.shard_task import ShardOutcome

_LINE_EVERY_S = 5.0
"""How often a line is printed where there is no terminal to rewrite one."""


class Progress:
    """Counts outcomes and prints; rates are of this run alone."""

    def __init__(self, name: str, plan: str, todo: int) -> None:
        self.name, self.plan, self.todo = name, plan, todo
        self.grids = 0
        self.busy_s = 0.0
        self.reasons: Counter[str] = Counter()
        self.start = self.last_line = time.monotonic()

    def advance(self, outcome: ShardOutcome) -> None:
        """Take a finished shard into account."""
        self.grids += outcome.made
        self.busy_s += outcome.busy_s
        self.reasons.update(outcome.quarantined)
        now = time.monotonic()
        if sys.stdout.isatty():
            print(f"\r\033[K{self._line(now)}", end="", flush=True)
        elif now - self.last_line >= _LINE_EVERY_S:
            self.last_line = now
            print(self._line(now), flush=True)

    def close(self) -> None:
        """Make room below the live line."""
        if sys.stdout.isatty():
            print("\r\033[K", end="")

    def note(self, state: Literal["running", "ended"]) -> JobNote:
        """What stands beside the output while the job runs."""
        rate, left_s = self._rate(time.monotonic())
        return JobNote(
            job=self.name,
            plan=self.plan,
            state=state,
            todo=self.todo,
            grids=self.grids,
            quarantined=dict(self.reasons),
            items_per_minute=60 * rate,
            left_s=None if rate == 0 else left_s,
        )

    def _rate(self, now: float) -> tuple[float, float]:
        """Items a second, and the seconds to the end."""
        rate = self._handled / max(now - self.start, 1e-9)
        return rate, (self.todo - self._handled) / rate if rate > 0 else float("inf")

    @property
    def _handled(self) -> int:
        return self.grids + sum(self.reasons.values())

    def _line(self, now: float) -> str:
        rate, left_s = self._rate(now)
        return (
            f"{self.name}  {self._handled}/{self.todo}  {self.grids} grids  {sum(self.reasons.values())} quarantined  "
            f"{60 * rate:.1f} a minute  {duration(left_s)} left"
        )


def duration(seconds: float) -> str:
    """A time for people: `3 h 07 min`, `7 min 05 s`, `12 s`."""
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
