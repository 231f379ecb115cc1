"""The cost model of rendering (infra/cost_model.py) beside runs with 1, 2 and 4 workers.

    python tests/benchmarks/cost.py

The run with one worker gives the cost of a grid; what the others should take follows, and is measured. Also the size
and cost of one grid of 8x8 at 288x512, which the model needs.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "infra"))

from cost_model import Rendering
from render_pool import PoolBenchmark
from reporting import Benchmark

from fourreal.platform.runtime import ray_session
from fourreal.platform.shards import list_shards
from fourreal.platform.storage import Storage

_SIZE: dict[str, object] = {"views": 8, "times": 8, "height": 96, "width": 160, "samples": 4, "items_per_shard": 1}


def main() -> None:
    """Measure and compare."""
    benchmark = Benchmark(__doc__)
    assets = 8 if benchmark.quick else 16
    cores = len(os.sched_getaffinity(0))
    took_s: dict[int, float] = {}
    pool = PoolBenchmark(assets, **_SIZE)
    try:
        with ray_session(4):  # as many workers as are asked for, on the cores that there are
            for workers in (1, 2, 4):
                took_s[workers] = assets / pool.ray(workers)
    finally:
        pool.close()
    model = Rendering(grid_cpu_s=took_s[1] / assets, asset_mb=0.0, grid_mb=0.0)
    for workers, measured_s in took_s.items():
        benchmark.add(f"render_{workers}_workers_s", measured_s)
        benchmark.add(f"render_{workers}_workers_model_s", model.wall_s(assets, workers, cores))
    _measure_large(benchmark)
    benchmark.finish()


def _measure_large(benchmark: Benchmark) -> None:
    large = PoolBenchmark(1, **{**_SIZE, "height": 288, "width": 512, "samples": 16})
    try:
        began, cpu_s = time.monotonic(), _children_cpu_s()
        large.bare(1)
        benchmark.add("grid_288x512_cpu_s", _children_cpu_s() - cpu_s)
        benchmark.add("grid_288x512_wall_s", time.monotonic() - began)
        (record,) = list_shards(Storage(str(large.folder / "run2")))
        benchmark.add("grid_288x512_mb", record.size_bytes / 1e6)
    finally:
        large.close()


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
