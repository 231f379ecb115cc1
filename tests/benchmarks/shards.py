"""What the codec and the shards cost beside what the libraries alone cost, in one run.

    python tests/benchmarks/shards.py [--quick] [--json FILE]

Floors: simplejpeg alone coding the same frames on one core; `webdataset` alone reading the same tar.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

import cv2
import numpy as np
import simplejpeg
import webdataset as wds
from reporting import Benchmark

from fourreal.platform.codec import JPEG_QUALITY, EncodedGrid, encode
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.shards import read_grids, write_shard
from fourreal.platform.storage import Storage


def natural_grid(V: int, T: int, H: int, W: int, seed: int = 0) -> Grid:
    """A grid whose frames code like photographs: noise with a 1/f spectrum."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((2 * H, 2 * W, 3), np.float32)
    cells = 4
    while cells < H:
        coarse = rng.normal(0, 1, (cells, cells * W // H, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (2 * W, 2 * H), interpolation=cv2.INTER_CUBIC) * (80 / cells)
        cells *= 2
    whole = np.clip(128 + picture, 0, 255).astype(np.uint8)
    frames = [[whole[3 * v : 3 * v + H, 5 * t : 5 * t + W] for t in range(T)] for v in range(V)]
    return Grid(frames=np.array(frames), meta=GridMeta(f"natural-{seed}"))


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Shortest time of `repeats` runs: what the work takes when nothing else disturbs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure, print, write."""
    benchmark = Benchmark(__doc__)
    repeats = 3 if benchmark.quick else 7
    for H, W in ((96, 160), (288, 512)):
        grid = natural_grid(8, 8, H, W)
        flat = grid.frames.reshape(-1, H, W, 3)
        members = encode(grid)
        encoded = EncodedGrid(members)
        blobs = encoded.jpegs()
        encode_floor_s = seconds(
            lambda f=flat: [
                simplejpeg.encode_jpeg(np.ascontiguousarray(x), JPEG_QUALITY, colorsubsampling="444") for x in f
            ],
            repeats,
        )
        decode_floor_s = seconds(
            lambda b=blobs: [simplejpeg.decode_jpeg(x, fastdct=False, fastupsample=False) for x in b], repeats
        )
        encode_s = seconds(lambda g=grid: encode(g), repeats)
        decode_s = seconds(lambda m=members: EncodedGrid(m).decode(), repeats)
        four_s = seconds(lambda m=members: EncodedGrid(m).frames_at([(0, 0), (3, 4), (7, 0), (7, 7)]), repeats)
        size = f"{H}x{W}"
        benchmark.add(f"encode_ms_{size}", 1e3 * encode_s)
        benchmark.add(f"encode_vs_simplejpeg_{size}", encode_s / encode_floor_s)
        benchmark.add(f"decode_ms_{size}", 1e3 * decode_s)
        benchmark.add(f"decode_vs_simplejpeg_{size}", decode_s / decode_floor_s)
        benchmark.add(f"four_frames_vs_all_{size}", four_s / decode_s)
        benchmark.add(f"grid_mb_{size}", sum(map(len, members.values())) / 1e6)
    _shards(benchmark, repeats)
    benchmark.finish()


def _shards(benchmark: Benchmark, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)
        grids = [natural_grid(8, 8, 96, 160, seed) for seed in range(16)]
        samples = [(grid.key, encode(grid)) for grid in grids]
        write_s = seconds(lambda: write_shard(storage, 0, samples), repeats)
        path = storage.path("shard-000000.tar")
        floor_s = seconds(lambda: sum(1 for _ in wds.WebDataset([path], shardshuffle=False)), repeats)
        read_s = seconds(lambda: sum(1 for _ in read_grids(storage)), repeats)
        benchmark.add("write_shard_grids_per_s", len(grids) / write_s)
        benchmark.add("read_shard_grids_per_s", len(grids) / read_s)
        benchmark.add("read_vs_webdataset", read_s / floor_s)


if __name__ == "__main__":
    main()
