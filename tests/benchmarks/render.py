"""What rendering costs: a worker's whole work, beside a public script's settings, and under Ray.

    python tests/benchmarks/render.py [--quick] [--json FILE] [--plot FILE]

Costs are CPU-seconds (rusage), parent and child, import to shard, of a warm worker; so other work on the machine
moves them less than times. `--quick` measures the same figures at 64 x 64 instead of 512 x 512 against 128 instead of
1024 samples, with small grids under Ray and few assets: they say that all works, not how fast it is.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from render_costs import cpu_s_per_frame, rss_growth, start_s
from render_plot import draw
from render_pool import PoolBenchmark
from render_quality import BASELINE_SAMPLES, Point, baseline_curve, cost_at, our_curve
from reporting import Benchmark

from fourreal.datagen.blender.worker import BlenderWorker, Limits
from fourreal.datagen.procedural import make_model
from fourreal.datagen.render_config import Config
from fourreal.platform.runtime import ray_session

DEFAULT_JOB_ASSETS = 1000
"""Of what `startup_and_recycling_share` is a share, on two cores."""
REAL_ASSET = Path(__file__).resolve().parents[3] / "shared" / "data" / "glb" / "CesiumMan.glb"
Growth = dict[str, list[tuple[float, float]]]


def main() -> None:
    """Measure, print, write."""
    benchmark = Benchmark(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        asset = REAL_ASSET if REAL_ASSET.exists() else _model(Path(folder, "model.glb"))
        print(f"asset: {asset.name}" + (", reduced sizes" if benchmark.quick else ""))
        growth = _costs(benchmark, asset)
        ours, baseline = _quality(benchmark, asset)
        _startup(benchmark, asset)
    _pools(benchmark)
    benchmark.add("worker_rss_growth", rss_growth(*((16, 4) if benchmark.quick else (300, 20))))
    if benchmark.plot:
        draw(benchmark.plot, growth, ours, baseline)
    benchmark.finish()


def _model(path: Path) -> Path:
    with BlenderWorker() as worker:
        worker.export(make_model(1).to_json(), path)
    return path


def _costs(benchmark: Benchmark, asset: Path) -> Growth:
    grids = 1 if benchmark.quick else 5
    benchmark.add("fixed_cpu_s_per_frame", cpu_s_per_frame(asset, 2 * grids, height=8, width=8, samples=1))
    small = cpu_s_per_frame(asset, grids, samples=4)
    benchmark.add("cpu_s_per_frame_96x160_4spp", small)
    large = cpu_s_per_frame(asset, 1, **({"times": 1} if benchmark.quick else {}), height=288, width=512, samples=16)
    benchmark.add("cpu_s_per_frame_288x512_16spp", large)
    if benchmark.quick:
        return {}
    growth: Growth = {
        "samples, 96x160": [(96 * 160 * 4, small)],
        "size, 4 samples": [(96 * 160 * 4, small)],
        "frames a grid (V T), 96x160, 4 samples": [(64, small)],
    }
    for samples in (1, 16, 64):
        cost = cpu_s_per_frame(asset, 1, samples=samples)
        benchmark.add(f"cpu_s_per_frame_96x160_{samples}spp", cost)
        growth["samples, 96x160"].append((96 * 160 * samples, cost))
    for height, width in ((48, 80), (192, 320), (288, 512)):
        cost = cpu_s_per_frame(asset, 1, height=height, width=width, samples=4)
        benchmark.add(f"cpu_s_per_frame_{height}x{width}_4spp", cost)
        growth["size, 4 samples"].append((height * width * 4, cost))
    for views, times in ((1, 8), (8, 1), (4, 4), (16, 8), (8, 16)):
        cost = cpu_s_per_frame(asset, 2, views=views, times=times, samples=4)
        benchmark.add(f"cpu_s_per_frame_V{views}_T{times}", cost)
        growth["frames a grid (V T), 96x160, 4 samples"].append((views * times, cost))
    return {label: sorted(points) for label, points in growth.items()}


def _quality(benchmark: Benchmark, asset: Path) -> tuple[list[Point], list[Point]]:
    size, reference, times = (64, 128, 1) if benchmark.quick else (512, 1024, 2)
    default = Config.samples
    ours = our_curve(asset, size, (4, default) if benchmark.quick else (4, default, 64), reference, times)
    settings = (BASELINE_SAMPLES,) if benchmark.quick else (16, BASELINE_SAMPLES)
    baseline = baseline_curve(asset, size, settings, reference, 1 if benchmark.quick else 2)
    for name, curve in (("ours", ours), ("baseline", baseline)):
        for point in curve:
            benchmark.add(f"{name}_{point.samples}spp_cpu_s_per_frame", point.cpu_s)
            benchmark.add(f"{name}_{point.samples}spp_psnr_db", point.psnr_db)
    at_default = next(point for point in ours if point.samples == default)
    benchmark.add("default_psnr_db", at_default.psnr_db)
    script = baseline[-1]
    benchmark.add("speedup_at_default", script.cpu_s / at_default.cpu_s)
    benchmark.add("speedup_at_equal_psnr", script.cpu_s / cost_at(ours, script.psnr_db))
    return ours, baseline


def _startup(benchmark: Benchmark, asset: Path) -> None:
    """A new child for every so many assets, and Ray once, beside the work of a default-sized job on two workers."""
    child_s, grid_s = start_s(asset, samples=1 if benchmark.quick else Config.samples)
    before = time.monotonic()
    with ray_session(2):
        ray_s = time.monotonic() - before
    a_worker = DEFAULT_JOB_ASSETS / 2
    extra_s = ray_s + (1.0 + a_worker / Limits().recycle_assets) * child_s
    benchmark.add("child_start_s", child_s)
    benchmark.add("ray_start_s", ray_s)
    benchmark.add("startup_and_recycling_share", extra_s / (extra_s + a_worker * grid_s))


def _pools(benchmark: Benchmark) -> None:
    changes = {"views": 2, "times": 4, "height": 48, "width": 80, "items_per_shard": 2} if benchmark.quick else {}
    pools = PoolBenchmark(4 if benchmark.quick else 64, samples=4, **changes)
    with ray_session(2):
        if not benchmark.quick:
            pools.ray(2)  # Ray Data's first job in a session starts more than the others
        rounds = 1 if benchmark.quick else 2
        ray_2, bare_2 = zip(*((pools.ray(2), pools.bare(2)) for _ in range(rounds)), strict=True)
        ray_1 = pools.ray(1)
    benchmark.add("ray_grids_per_s", max(ray_2))
    benchmark.add("ray_vs_bare_pool", max(ray_2) / max(bare_2))
    benchmark.add("two_workers_vs_one", max(ray_2) / ray_1)
    pools.close()


if __name__ == "__main__":
    main()
