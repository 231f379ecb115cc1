"""What pseudo-4D grids cost beside what no way of making them can do without, in one run.

    python tests/benchmarks/synthesize.py [--quick] [--json FILE]

`time_vs_floor` is the time of a grid, read, warped and encoded as the job does, over that of a floor:
PyAV decoding the same file once from its first to its last frame, as the job does, and giving RGB for the frames that
are used (swscale's fastest way, which is a grey level too dark; one context, one thread), one bilinear `cv2.remap` for
each frame of the grid into memory that is there (places of fixed point, worked out once for each view: the fastest
kernel of OpenCV's), simplejpeg coding it; the worst of three sizes. Both are processor time on one thread. They take
turns, each pass over the file between two of the floor, whose mean it is compared with; a figure is the median of the
passes', and `_spread` the largest less the smallest. The filters measure clips, which has no part in a floor of making
grids: `time_vs_floor` is without them, `time_vs_floor_filtered` with the job's defaults, `filters_ms` what they add to
a grid whose first clip they accept.

`two_workers_vs_one` and `ray_vs_bare_pool` compare rates while all workers work, so that starting processes is not
counted; the pool is `multiprocessing`'s, making the same shards, and `two_processes_vs_one` what the
machine gives a second process of it. They need two idle cores.
`peak_rss_mb_2h_video` is a worker process on a 720p video of two hours, at the largest of the sizes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as Ray has it in its workers, and read when numpy is imported

import functools
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from av.video.reformatter import VideoReformatter
from reporting import Benchmark

from fourreal.datagen.selection.filters import ClipFilters
from fourreal.datagen.synthesize import Config, Synthesizer, data_job
from fourreal.datagen.videos.scan import list_windows
from fourreal.platform.codec import JPEG_QUALITY, encode
from fourreal.platform.datajob import Item, ItemFailure, run_data_job
from fourreal.platform.datajob.plan import make_plan
from fourreal.platform.datajob.shard_task import ShardOrder, make_shard
from fourreal.platform.runtime import compute_in_this_thread, ray_session
from fourreal.platform.storage import Storage
from fourreal.platform.video import write_video

_FRAMES_A_CLIP = 17
_GRAIN = 0.7
"""Grey levels, standard deviation: 2.2 Mbit/s of 720p, and 2.5 ns to decode a pixel; of two real videos 1.5 and 3.8."""
SIZES = ((96, 160), (288, 512), (512, 512))
_NO_FILTERS = ClipFilters(
    min_brightness=0, max_brightness=9, min_contrast=0, max_flicker=9, max_fade=9, max_blur=9, max_text=9,
    max_overlay=9, min_tracked=0, min_motion=0, max_motion=9, max_camera=9, max_shake=9,
)  # fmt: skip


def moving_video(path: Path, frames: int, height: int, width: int, seed: int = 0) -> None:
    """A slow pan over dead leaves (discs of all sizes, the statistics of photographs), a disc of others before them.

    It has the grain of a sensor, without which it would have a third of an ordinary video's bits.
    """
    rng = np.random.default_rng(seed)
    grain = rng.normal(0.0, _GRAIN, (2 * height, 2 * width, 1)).round().astype(np.int8)
    scene = np.full((height + 2 * frames, width + 4 * frames, 3), 120, np.uint8)
    for _ in range(3000):
        centre = (int(rng.integers(scene.shape[1])), int(rng.integers(scene.shape[0])))
        radius = int(min(height / 200 * rng.random() ** -0.7, height / 5))
        cv2.circle(scene, centre, radius, rng.normal(120, 50, 3).clip(5, 250).tolist(), -1, cv2.LINE_AA)
    scene = cv2.GaussianBlur(scene, (0, 0), 0.7)
    side = 2 * (height // 5)
    disc = scene[-side:, -side:].copy()
    inside = cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), side // 2, 255, -1) > 0
    shown = []
    for i in range(frames):
        picture = scene[i : i + height, 2 * i : 2 * i + width].copy()
        left = width // 5 + 3 * i % (width // 2)
        picture[height // 4 : height // 4 + side, left : left + side][inside] = disc[inside]
        y, x = rng.integers(height), rng.integers(width)
        shown.append(cv2.add(picture, grain[y : y + height, x : x + width].repeat(3, axis=2), dtype=cv2.CV_8U))
    write_video(path, np.stack(shown), fps=24)


def floor_s(path: str, used: set[int], height: int, width: int, grids: int) -> float:
    """Processor seconds of a grid that no way of making it can do without; holds one frame at a time."""
    start = time.process_time()
    done = 0
    reformatter = VideoReformatter()
    out = np.empty((height, width, 3), np.uint8)
    with av.open(path) as container:
        container.streams.video[0].thread_type = "NONE"
        for number, image in enumerate(container.decode(video=0)):
            if number in used:
                if done % 8 == 0:
                    places = [_places(view, height, width) for view in range(8)]  # of all times of a grid
                picture = _rgb(reformatter.reformat(image, format="rgb24", threads=1))
                for of_view in places:
                    cv2.remap(picture, *of_view, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)
                    simplejpeg.encode_jpeg(out, JPEG_QUALITY, colorsubsampling="444")
                done += 1
    assert done == 8 * grids, "a grid's frames are not those that the job used"
    return (time.process_time() - start) / grids


def _rgb(image: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """`[h, w, 3]`, where swscale wrote it."""
    rows = np.frombuffer(image.planes[0], np.uint8).reshape(image.height, -1)
    return rows[:, : 3 * image.width].reshape(image.height, image.width, 3)


def _places(view: int, height: int, width: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]:
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    depth = 1.0 + 1e-5 * view * x
    whole, rest = cv2.convertMaps((x + 0.02 * y + 8.0 + view) / depth, (y - 0.02 * x + 12.0) / depth, cv2.CV_16SC2)
    return whole, rest


def _make_all(config: Config, items: list[Item], *, filtered: bool) -> tuple[float, list[tuple[float, ...]]]:
    """Processor seconds of a grid, and when the clips begin (milliseconds)."""
    synthesizer = Synthesizer(config)
    if not filtered:
        measured = synthesizer.process(items[0]).meta.motion  # of one clip, serves all
        synthesizer.reader.close()
        synthesizer.reader.check = lambda clip: measured
    starts = []
    start = time.process_time()
    for item in items:
        starts.append(_make_one(synthesizer, item))
    spent_s = time.process_time() - start
    synthesizer.close()
    return spent_s / len(items), starts


def _make_one(synthesizer: Synthesizer, item: Item) -> float:
    grid = synthesizer.process(item)
    encode(grid)
    return float(grid.meta.provenance["start_s"])


def _time_vs_floor(benchmark: Benchmark, folder: Path, repeats: int, clips: int) -> None:
    moving_video(folder / "video.mp4", _FRAMES_A_CLIP * clips, 720, 1280)
    worst: dict[str, float] = {}
    for height, width in SIZES:
        config = Config(videos=str(folder), out="unused", height=height, width=width, clips_per_video=clips)
        items = list(list_windows(config.videos, config.timing, config.clips_per_video))
        _, starts = _make_all(config, items, filtered=False)
        used = {round(24 * start_s) + config.stride * t for start_s in starts for t in range(config.times)}
        floor = functools.partial(floor_s, str(folder / "video.mp4"), used, height, width, len(items))
        floors, unfiltered, filtered = [floor()], [], []
        for _ in range(repeats):
            gc.collect()
            unfiltered.append(_make_all(config, items, filtered=False)[0])
            floors.append(floor())
            filtered.append(_make_all(config, items, filtered=True)[0])
            floors.append(floor())
        between = 0.5 * (np.array(floors[1:]) + floors[:-1])
        ratios = {"time_vs_floor": unfiltered / between[::2], "time_vs_floor_filtered": filtered / between[1::2]}
        size = f"{height}x{width}"
        benchmark.add(f"floor_ms_{size}", 1e3 * float(np.median(floors)))
        benchmark.add(f"grid_ms_{size}", 1e3 * float(np.median(unfiltered)))
        benchmark.add(f"filters_ms_{size}", 1e3 * float(np.median(filtered) - np.median(unfiltered)))
        for name, values in ratios.items():
            benchmark.add(f"{name}_{size}", float(np.median(values)))
            benchmark.add(f"{name}_spread_{size}", float(np.ptp(values)))
            worst[name] = max(worst.get(name, 0.0), float(np.median(values)))
    for name, value in worst.items():
        benchmark.add(name, value)


def _rate(folder: Path, workers: int) -> float:
    """Shards a second while all workers work: they start at different times, and end so."""
    finished = sorted(path.stat().st_mtime for path in folder.glob("shard-*.json"))
    first, last = len(finished) // 4, len(finished) - workers
    return (last - first) / (finished[last] - finished[first])


_processor: Synthesizer | None = None


def _make_in_pool(config: Config, order: ShardOrder) -> None:
    global _processor  # noqa: PLW0603 - a process of the pool has one, like a Ray worker
    compute_in_this_thread()
    _processor = _processor or Synthesizer(config)
    make_shard(Storage(config.out), order, _processor)


def _scaling(benchmark: Benchmark, folder: Path, shards: int, rounds: int) -> None:
    videos = folder / "many"
    videos.mkdir()
    moving_video(folder / "scaling.mp4", 136, 360, 640)
    data = (folder / "scaling.mp4").read_bytes()
    for i in range(shards):  # other files with the same frames, and --duplicate-distance off
        (videos / f"{i}.mp4").write_bytes(data + bytes([i]))
    config = Config(videos=str(videos), out="unused", filters=_NO_FILTERS, duplicate_distance=None)
    ray_rates, bare_rates = {1: 0.0, 2: 0.0}, {1: 0.0, 2: 0.0}
    with ray_session(2):
        for number in range(rounds):
            for workers in (1, 2):
                out = folder / f"ray-{workers}-{number}"
                run_data_job(data_job(replace(config, out=str(out), workers=workers)))
                ray_rates[workers] = max(ray_rates[workers], _rate(out, workers))
                out = folder / f"bare-{workers}-{number}"
                _run_in_pool(replace(config, out=str(out), workers=workers))
                bare_rates[workers] = max(bare_rates[workers], _rate(out, workers))
    benchmark.add("grids_per_s_two_workers", ray_rates[2] * config.items_per_shard)
    benchmark.add("two_workers_vs_one", ray_rates[2] / ray_rates[1])
    benchmark.add("two_processes_vs_one", bare_rates[2] / bare_rates[1])
    benchmark.add("ray_vs_bare_pool", ray_rates[2] / bare_rates[2])


def _run_in_pool(config: Config) -> None:
    job = data_job(config)
    plan = make_plan(job.name, job.settings, job.list_items(), job.items_per_shard)
    orders = [ShardOrder(i, plan.items_of(i), plan.fingerprint) for i in range(plan.shard_count)]
    with multiprocessing.get_context("spawn").Pool(config.workers) as pool:
        pool.map(functools.partial(_make_in_pool, config), orders, chunksize=1)


def _repeat_packets(source: Path, target: Path, duration_s: float) -> None:
    """A long video of a short one's packets."""
    with av.open(str(source)) as short, av.open(str(target), "w") as long:
        stream = short.streams.video[0]
        copy = long.add_stream_from_template(stream)
        packets = [(p.pts, p.dts, p.is_keyframe, bytes(p)) for p in short.demux(stream) if p.size]
        length = round(short.duration / av.time_base / stream.time_base)
        for i in range(round(duration_s / float(length * stream.time_base))):
            for pts, dts, is_keyframe, data in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.time_base = pts + i * length, dts + i * length, stream.time_base
                packet.is_keyframe, packet.stream = is_keyframe, copy
                long.mux(packet)


def _peak_rss_mb(videos: str, connection: object) -> None:
    import ray.data  # noqa: F401 - a worker has it, too

    height, width = SIZES[-1]
    config = Config(videos=videos, out="unused", height=height, width=width)
    synthesizer = Synthesizer(config)
    made = 0
    for item in list_windows(videos, config.timing, 8):
        try:
            encode(synthesizer.process(item))
            made += 1
        except ItemFailure:
            pass
    # Not getrusage: its maximum is handed down from the process that this one was forked from.
    status = Path("/proc/self/status").read_text()
    peak_kb = int(status.split("VmHWM:")[1].split()[0])
    connection.send((made, peak_kb / 1024))  # type: ignore[attr-defined]


def _memory(benchmark: Benchmark, folder: Path) -> None:
    videos = folder / "long"
    videos.mkdir()
    moving_video(folder / "short.mp4", 136, 720, 1280)
    _repeat_packets(folder / "short.mp4", videos / "two-hours.mp4", 7200.0)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_peak_rss_mb, args=(str(videos), theirs))
    child.start()
    made, peak_mb = ours.recv()
    child.join()
    benchmark.add("grids_of_2h_video", made)
    benchmark.add("peak_rss_mb_2h_video", peak_mb)


def main() -> None:
    """Measure, print, write."""
    benchmark = Benchmark(__doc__)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps: list[Callable[[], None]] = [
            lambda: _time_vs_floor(benchmark, folder, *((2, 3) if benchmark.quick else (5, 8))),
            lambda: _memory(benchmark, folder),
            lambda: _scaling(benchmark, folder, *((8, 1) if benchmark.quick else (40, 3))),
        ]
        for step in steps:
            step()
    benchmark.finish()


if __name__ == "__main__":
    main()
