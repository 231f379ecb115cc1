"""The loss by diffusion time and by source of the data: what a mean over everything hides."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

TIME_INTERVALS = ("0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00", "1.00")
"""Of diffusion time, as they are called in metrics. Time 1, where all of the content is decided, stands alone."""


def time_interval(time: float) -> str:
    """The interval that a diffusion time is in."""
    return TIME_INTERVALS[min(int(4 * time), 4)]


class LossBreakdown:
    """Sums over samples until they are taken. `sources` are the addresses of the folders, by number."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._names = _distinct([_metric_word(source.rstrip("/").split("/")[-1]) for source in sources])
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, times: Sequence[float], losses: Sequence[float], sources: Sequence[int]) -> None:
        """Take samples: the diffusion time, the loss and the source's number of each."""
        for time, loss, source in zip(times, losses, sources, strict=True):
            for name in (f"loss_at_time/{time_interval(time)}", f"loss_of_source/{self._names[source]}"):
                self._sums[name] += loss
                self._counts[name] += 1

    def take(self) -> dict[str, float]:
        """The means by metric name, of what has been met since the last time."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means


def _metric_word(name: str) -> str:
    """A folder's name as a part of a metric's: MLflow refuses other characters, and all that is logged with them."""
    return "folder" if name in ("", ".", "..") else re.sub(r"[^\w.\- :]", "_", name)


def _distinct(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{number}-{name}" for number, name in enumerate(names)]
