"""The Ray job beside the same workers without Ray, on the same models and settings, in throughput (grids a second).

The models are exported beforehand, so that every run does the same work.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path

from render_costs import config_of

from fourreal.datagen.render import Renderer, data_job
from fourreal.datagen.render_config import Config
from fourreal.platform.datajob.job import work_off
from fourreal.platform.datajob.plan import make_plan
from fourreal.platform.datajob.shard_task import ShardOrder, make_shard
from fourreal.platform.storage import Storage


class PoolBenchmark:
    """Runs of one job in different ways; a folder for the models and the outputs lives as long as this."""

    def __init__(self, assets: int, **changes: object) -> None:
        self.assets = assets
        self.changes = changes
        self.folder = Path(tempfile.mkdtemp(prefix="fourreal-benchmark-"))
        self._runs = 0
        self.bare(2)  # makes the models

    def close(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    def ray(self, workers: int) -> float:
        """Throughput of the job, in a Ray that runs already."""
        config = self._config(workers)
        start = time.monotonic()
        summary = work_off(data_job(config))
        assert summary.made_now == self.assets, summary.quarantined
        return self.assets / (time.monotonic() - start)

    def bare(self, workers: int) -> float:
        """Throughput of a pool of processes that make the shards of the same plan."""
        config = self._config(workers)
        start = time.monotonic()
        job = data_job(config)
        plan = make_plan(job.name, job.settings, job.list_items(), job.items_per_shard)
        orders = [ShardOrder(n, plan.items_of(n), plan.fingerprint) for n in range(plan.shard_count)]
        with multiprocessing.get_context("spawn").Pool(workers, _start, (config,)) as pool:
            made = sum(pool.imap_unordered(_make, orders))
            took_s = time.monotonic() - start
            pool.close()
            pool.join()
        assert made == self.assets
        return self.assets / took_s

    def _config(self, workers: int) -> Config:
        self._runs += 1
        out = str(self.folder / f"run{self._runs}")
        cache = str(self.folder / "models")
        return config_of(f"procedural:{self.assets}", out, assets_cache=cache, workers=workers, **self.changes)


_here: tuple[Storage, Renderer]


def _start(config: Config) -> None:
    global _here  # noqa: PLW0603 - what a pool's process holds between its tasks
    _here = Storage(config.out), Renderer(config)


def _make(order: ShardOrder) -> int:
    out, renderer = _here
    return make_shard(out, order, renderer).made
