"""How well a scene fits a rendered grid, and how long that takes; run through evaluate.py."""

from __future__ import annotations

import statistics
import tempfile
import time

import numpy as np
import torch
from reporting import Benchmark

from fourreal.datagen.render import data_job
from fourreal.datagen.render_config import Config
from fourreal.evaluation.reconstruction import FitSettings, Observations, fit, time_of
from fourreal.evaluation.reconstruction.held_out import held_out
from fourreal.platform.grid import Grid
from fourreal.platform.shards import read_grids
from fourreal.platform.storage import Storage

_QUICK_STEPS = 400


def fit_quality(grid: Grid, steps: int) -> tuple[float, float, float]:
    """PSNR of two held-out views, whole and foreground, dB; and the seconds of the fit."""
    torch.set_num_threads(1)
    observations = Observations.of_grid(grid)
    train = torch.ones(grid.views, grid.times, dtype=torch.bool)
    unseen = held_out(grid.views, 2)
    train[unseen] = False
    start = time.perf_counter()
    scene = fit(observations, train, FitSettings(steps=steps))
    seconds = time.perf_counter() - start
    whole, foreground = [], []
    assert observations.mask is not None
    for v in unseen:
        for t in range(grid.times):
            made = scene.render(observations.cameras[v], time_of(t, grid.times)).colour.clamp(0, 1)
            squared = (made - observations.frames[v, t]).square().mean(dim=-1)
            whole.append(-10 * np.log10(float(squared.mean())))
            foreground.append(-10 * np.log10(float(squared[observations.mask[v, t] > 0.5].mean())))
    return statistics.mean(whole), statistics.mean(foreground), seconds


def _rendered() -> Grid:
    """A procedural asset as `fourreal render` shows it, made in this process."""
    with tempfile.TemporaryDirectory() as out:
        job = data_job(Config(assets="procedural:1", out=out, workers=1))
        worker = job.make_processor()
        try:
            grid = worker.process(next(iter(job.list_items())))
        finally:
            worker.close()
    assert isinstance(grid, Grid)
    return grid


def measure(benchmark: Benchmark, folder: str | None) -> None:
    """fit_psnr_db, fit_foreground_psnr_db and fit_s, on the first grid of a folder of shards or a procedural one."""
    grid = next(read_grids(Storage(folder))).decode() if folder else _rendered()
    whole, foreground, seconds = fit_quality(grid, _QUICK_STEPS if benchmark.quick else FitSettings().steps)
    benchmark.add("fit_psnr_db", whole)
    benchmark.add("fit_foreground_psnr_db", foreground)
    benchmark.add("fit_s", seconds)
