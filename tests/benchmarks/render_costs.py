"""What a worker's whole work costs: CPU-seconds of it and its Blender child, and how the child's memory grows."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as Ray has it in its workers, and read when numpy is imported

import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.framing import build_scene
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.scene import Actor, Scene
from fourreal.datagen.blender.timing import sample_times
from fourreal.datagen.blender.worker import BlenderWorker, Limits
from fourreal.datagen.filters import Filters
from fourreal.datagen.procedural import make_model
from fourreal.datagen.render import Renderer
from fourreal.datagen.render_config import Config
from fourreal.platform.datajob.shard_task import ShardOrder, make_shard
from fourreal.platform.storage import Storage

KEEP_ALL = Filters(min_motion=0.0, max_border=1.0, min_coverage=0.0, max_flicker=100.0, min_colour_spread=0.0)
"""So that a grid too small to be of any use is finished all the same."""


def config_of(assets: Path | str, out: str, **changes: object) -> Config:
    """The default options but for these."""
    return Config(assets=str(assets), out=out, filters=KEEP_ALL, **changes)  # type: ignore[arg-type]


class Worker:
    """One worker as the job has it, driven by hand: asset to shard, with a child that is warm."""

    def __init__(self, config: Config) -> None:
        self.renderer = Renderer(config)
        self.out = Storage(config.out)
        self.items = list(self.renderer.source.items())
        self._shards = 0

    def make(self, grids: int) -> None:
        """Make a shard with so many grids, each of cameras, moments and a background of its own."""
        first = self._shards * grids
        chosen = [self.items[n % len(self.items)] for n in range(first, first + grids)]
        items = [replace(item, key=f"{item.key}-{first + n}") for n, item in enumerate(chosen)]
        outcome = make_shard(self.out, ShardOrder(self._shards, items, plan="benchmark"), self.renderer)
        assert outcome.made == grids, outcome.quarantined
        self._shards += 1

    def cpu_s(self) -> float:
        """CPU-seconds of this process and of the child so far."""
        mine = resource.getrusage(resource.RUSAGE_SELF)
        child = psutil.Process(self.renderer.worker.process_id).cpu_times()
        return mine.ru_utime + mine.ru_stime + child.user + child.system


@contextmanager
def worker_of(config: Config) -> Iterator[Worker]:
    """A worker whose child has imported and rendered before."""
    worker = Worker(config)
    try:
        child = worker.renderer.worker
        path, _ = worker.renderer.source.local(worker.items[0], child)
        child.render(scene_of(child, path, 8, views=1, samples=1))
        yield worker
    finally:
        worker.renderer.close()


def cpu_s_per_frame(asset: Path, grids: int, **changes: object) -> float:
    """All that a warm worker does for a grid, for each of its frames: import to shard."""
    with tempfile.TemporaryDirectory() as out, worker_of(config_of(asset, out, **changes)) as worker:
        before = worker.cpu_s()
        worker.make(grids)
        c = worker.renderer.config
        return (worker.cpu_s() - before) / (grids * c.views * c.times)


def start_s(asset: Path, samples: int) -> tuple[float, float]:
    """Seconds that a new child costs beside a warm one, and seconds of a warm grid of the default size."""
    with tempfile.TemporaryDirectory() as out, worker_of(config_of(asset, out, samples=1, height=8, width=8)) as worker:
        warm, cold = [], []
        for _ in range(2):
            before = time.monotonic()
            worker.make(1)
            between = time.monotonic()
            worker.renderer.worker.close()
            worker.make(1)
            warm.append(between - before)
            cold.append(time.monotonic() - between)
    with tempfile.TemporaryDirectory() as out, worker_of(config_of(asset, out, samples=samples)) as worker:
        before = time.monotonic()
        worker.make(1)
        return min(cold) - min(warm), time.monotonic() - before


def scene_of(worker: BlenderWorker, asset: Path, size: int, views: int, samples: int) -> Scene:
    """The scene that a job makes around the asset, at one time."""
    rng = np.random.default_rng(0)
    loaded = worker.load(str(asset))
    times_s = sample_times(loaded.clips[0], 1, 0.125, rng)
    measurement = worker.measure(str(asset), loaded.clip, times_s)
    return build_scene(
        [Actor(str(asset), loaded.clip)],
        times_s,
        measurement,
        views=views,
        height=size,
        width=size,
        samples=samples,
        rng=rng,
        camera=CameraSettings(),
        light=LightSettings(),
    )


def rss_growth(assets: int, distinct: int = 20) -> float:
    """By which share a child that is never replaced has grown after so many assets, since the first `distinct`."""
    endless = Limits(recycle_assets=10**9, recycle_memory_bytes=2**60)
    with tempfile.TemporaryDirectory() as folder, BlenderWorker(endless) as worker:
        paths = [Path(folder, f"{seed}.glb") for seed in range(distinct)]
        for seed, path in enumerate(paths):
            worker.export(make_model(seed).to_json(), path)
        at_first = 0
        for number in range(assets):
            scene = scene_of(worker, paths[number % distinct], 64, views=2, samples=1)
            worker.render(scene)
            if number + 1 == distinct:
                at_first = _rss(worker)
        return _rss(worker) / at_first - 1.0


def _rss(worker: BlenderWorker) -> int:
    return int(psutil.Process(worker.process_id).memory_info().rss)
