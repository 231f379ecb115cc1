"""Cost against quality, at one asset: this project's renderer, and the settings of the Objaverse-XL script.

A point is (CPU-seconds a frame, PSNR in dB against the same scene at many more samples). Each side has its own
scene, light and reference, over white, 8 bits. Ours has the default framing, in which the asset covers more than twice
as many pixels as in the script's frames: that counts against us.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from render_costs import cpu_s_per_frame, scene_of

from fourreal.datagen.blender.worker import BlenderWorker

BASELINE_SAMPLES = 128
"""The script's own setting."""
BASELINE_FRAMES_PER_ASSET = 12
"""Frames of an asset in one process of the script: what its start and import are shared by."""
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Point:
    """One setting."""

    samples: int
    cpu_s: float
    psnr_db: float


def psnr_db(frames: Bytes, reference: Bytes) -> float:
    """Of 8-bit images of one shape."""
    error = np.square(frames.astype(np.float64) - reference).mean()
    return float(10.0 * np.log10(255.0**2 / error))


def our_curve(asset: Path, size: int, samples: Sequence[int], reference: int, times: int) -> list[Point]:
    """Of grids of 8 views and `times` times; the quality is of two of the views."""
    with BlenderWorker() as worker:
        scene = scene_of(worker, asset, size, views=2, samples=reference)
        white = np.ones((2, size, size, 3), np.float32)
        best = worker.render(replace(scene, seed=scene.seed ^ 1)).over(white)
        quality = [psnr_db(worker.render(replace(scene, samples=n)).over(white), best) for n in samples]
    cost = [cpu_s_per_frame(asset, 1, height=size, width=size, times=times, samples=n) for n in samples]
    return [Point(*point) for point in zip(samples, cost, quality, strict=True)]


def baseline_curve(asset: Path, size: int, samples: Sequence[int], reference: int, frames: int) -> list[Point]:
    """The script's settings but for the samples; start and import are shared out over its frames of an asset."""
    best, _ = _baseline(asset, size, reference, frames, "--reference")
    points = []
    for n in samples:
        made, cpu_s = _baseline(asset, size, n, frames)
        points.append(Point(n, cpu_s, psnr_db(made, best)))
    return points


def _baseline(asset: Path, size: int, samples: int, frames: int, *flags: str) -> tuple[Bytes, float]:
    program = Path(__file__).with_name("render_baseline.py")
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(asset), folder, "--frames", str(frames), "--samples", str(samples), "--size", str(size)]
        before = _children_s()
        subprocess.run([sys.executable, str(program), *arguments, *flags], check=True, stdout=subprocess.DEVNULL)
        whole_s = _children_s() - before
        frames_s = json.loads(Path(folder, "frames.json").read_text())
        start_s = whole_s - sum(frames_s)
        cpu_s = float(np.mean(frames_s)) + start_s / BASELINE_FRAMES_PER_ASSET
        return np.stack([_over_white(Path(folder, f"{n:03d}.png")) for n in range(frames)]), cpu_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _over_white(path: Path) -> Bytes:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float64)
    alpha = image[..., 3:] / 255.0
    return np.asarray(np.rint(image[..., :3] * alpha + 255.0 * (1.0 - alpha)), np.uint8)


def cost_at(curve: Sequence[Point], psnr: float) -> float:
    """CPU-seconds a frame at which a curve reaches this quality: between its points, or on from the last two.

    Straight in dB over the logarithm of the cost, for noise falls with the root of the samples.
    """
    ordered = sorted(curve, key=lambda point: point.psnr_db)
    pairs = list(itertools.pairwise(ordered))
    low, high = next((pair for pair in pairs if psnr <= pair[1].psnr_db), pairs[-1])
    slope = (np.log(high.cpu_s) - np.log(low.cpu_s)) / (high.psnr_db - low.psnr_db)
    return float(np.exp(np.log(low.cpu_s) + slope * (psnr - low.psnr_db)))
