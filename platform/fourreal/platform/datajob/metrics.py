"""What Prometheus sees of a data job, on Ray's own exporter, which puts `ray_` before each name.

All of it is counted by the driver, from the outcomes of shards; rates are for the one who asks
(`rate(ray_fourreal_items_total[5m])`).
"""

from __future__ import annotations

from fourreal.platform.datajob.shard_task import ShardOutcome

ITEMS = "fourreal_items_total"
WORK = "fourreal_work_seconds_total"
BYTES = "fourreal_shard_bytes_total"
SHARDS = "fourreal_shards_total"
WAITING = "fourreal_items_waiting"
WORKERS = "fourreal_workers"
GRID = "grid"
"""Value of `outcome` for an item that became a grid; for others it is the reason of their quarantine."""


class JobMetrics:
    """The counters of one run. Ray must be running."""

    def __init__(self, job: str, plan: str, waiting: int, workers: int) -> None:
        from ray.util.metrics import Counter, Gauge

        self._tags = {"job": job, "plan": plan}
        keys = ("job", "plan")
        self._items = Counter(ITEMS, "items handled, by what became of them", (*keys, "outcome"))
        self._work = Counter(WORK, "time that workers spent on items", keys)
        self._bytes = Counter(BYTES, "size of the shards written", keys)
        self._shards = Counter(SHARDS, "shards written", keys)
        self._waiting = Gauge(WAITING, "items that are not handled yet", keys)
        self._workers = Gauge(WORKERS, "worker processes asked for", keys)
        self._left = waiting
        self._waiting.set(waiting, self._tags)
        self._workers.set(workers, self._tags)

    def add(self, outcome: ShardOutcome) -> None:
        """Count a finished shard."""
        for name, count in {GRID: outcome.made, **outcome.quarantined}.items():
            if count:
                self._items.inc(count, {**self._tags, "outcome": name})
                self._left -= count
        for counter, value in ((self._work, outcome.busy_s), (self._bytes, outcome.size_bytes), (self._shards, 1)):
            if value > 0:
                counter.inc(value, self._tags)
        self._waiting.set(self._left, self._tags)

    def close(self) -> None:
        """Nobody works any more."""
        self._workers.set(0, self._tags)
