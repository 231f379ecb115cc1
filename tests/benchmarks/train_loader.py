"""Batches against the bare decoding of their frames; CPU time of one thread, both in turns in one run.

    python tests/benchmarks/train_loader.py [--quick] [--json FILE]

loader_vs_decode           rate of `BatchStream` at stored size over simplejpeg alone on the same frames; more is better
loader_mirrored_vs_decode  the same with every sample mirrored
loader_resized_vs_decode   the same at half the stored size
to_model_share             making floats of a batch, as part of decoding it; on a GPU the device does this
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import simplejpeg
from reporting import Benchmark

from fourreal.platform.codec import encode
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.shards import read_grids, write_shard
from fourreal.platform.storage import Storage
from fourreal.training.data.batches import BatchStream, DataSettings
from fourreal.training.data.catalogue import BatchShape
from fourreal.training.data.pixels import to_model
from fourreal.training.settings.groups import AugmentSettings
from fourreal.training.workers.ranks import Worker

VIEWS, TIMES, HEIGHT, WIDTH = 8, 8, 96, 160
GRIDS, BATCH = 16, 4


def main() -> None:
    """Measure and print."""
    benchmark = Benchmark(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        for figure, value in loader_figures(folder, rounds=10 if benchmark.quick else 40).items():
            benchmark.add(figure, value)
    benchmark.finish()


def loader_figures(folder: str, rounds: int) -> dict[str, float]:
    """The figures; `folder` is empty and takes some grids. A round is an epoch of them, the median round counts."""
    storage = Storage(folder)
    for shard in range(GRIDS // 4):
        grids = [_moving_texture(4 * shard + number) for number in range(4)]
        write_shard(storage, shard, [(grid.key, encode(grid)) for grid in grids])
    jpegs = [blob for grid in read_grids(storage) for blob in grid.jpegs()]
    plain, mirrored = _stream(folder, HEIGHT, WIDTH, 0.0), _stream(folder, HEIGHT, WIDTH, 1.0)
    halved = _stream(folder, HEIGHT // 2, WIDTH // 2, 0.0)
    batch = plain.next()
    tasks: dict[str, Callable[[], object]] = {
        "decode": lambda: [simplejpeg.decode_jpeg(blob, fastdct=False, fastupsample=False) for blob in jpegs],
        "loader": lambda: [plain.next() for _ in range(GRIDS // BATCH)],
        "mirrored": lambda: [mirrored.next() for _ in range(GRIDS // BATCH)],
        "resized": lambda: [halved.next() for _ in range(GRIDS // BATCH)],
        "to_model": lambda: [to_model(batch.frames) for _ in range(GRIDS // BATCH)],
    }
    times_s: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            began = time.process_time()
            task()
            times_s[name].append(time.process_time() - began)

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(times_s[one], times_s[other], strict=True))

    return {
        "loader_vs_decode": ratio("decode", "loader"),
        "loader_mirrored_vs_decode": ratio("decode", "mirrored"),
        "loader_resized_vs_decode": ratio("decode", "resized"),
        "to_model_share": ratio("to_model", "decode"),
    }


def _stream(folder: str, height: int, width: int, mirror: float) -> BatchStream:
    shape = BatchShape("grid", BATCH, VIEWS, TIMES, height, width)
    data = DataSettings((folder,), (1.0,), (shape,), 0, augment=AugmentSettings(mirror=mirror))
    return BatchStream(data, worker=Worker(0, 1))


def _moving_texture(number: int) -> Grid:
    """Smooth random pictures with some detail, shifted by view and time: JPEG files of a real size."""
    rng = np.random.default_rng(number)
    coarse = rng.uniform(0, 255, (HEIGHT // 8 + 4, WIDTH // 8 + 4, 3))
    picture = np.kron(coarse, np.ones((8, 8, 1))) + rng.normal(0, 6, (HEIGHT + 32, WIDTH + 32, 3))
    frames = np.empty((VIEWS, TIMES, HEIGHT, WIDTH, 3), np.uint8)
    for view in range(VIEWS):
        for at in range(TIMES):
            frames[view, at] = picture[at : at + HEIGHT, 2 * view : 2 * view + WIDTH].clip(0, 255)
    return Grid(frames=frames, meta=GridMeta(key=f"texture-{number:04d}"))


if __name__ == "__main__":
    main()
