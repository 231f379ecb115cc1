"""What the benchmarks of training train: procedural grids, and the settings of a stage on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fourreal.platform.codec import encode
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage
from fourreal.training.fit.guard import Guard
from fourreal.training.fit.loop import batch_stream
from fourreal.training.fit.losses import LossRecord
from fourreal.training.fit.train_state import TrainState
from fourreal.training.settings.config import Config
from fourreal.training.settings.groups import EngineSettings, ModelSettings
from fourreal.training.stage.settings import StageSettings, stage_settings
from fourreal.training.workers.ranks import Worker

VIEWS, TIMES, HEIGHT, WIDTH = 8, 8, 96, 160


def make_data(folder: str, grids: int = 16) -> None:
    """Grids of moving smooth pictures, in two shards."""
    for shard in range(2):
        made = [_grid(shard * grids // 2 + number) for number in range(grids // 2)]
        write_shard(Storage(folder), shard, [(grid.key, encode(grid)) for grid in made])


def config_of(folder: str, out: str, *, size: str = "nano", **fields: Any) -> Config:
    """A base stage at 32x48."""
    model = ModelSettings(size=size, height=32, width=48, patch_size=8)
    return Config(**{"data": (folder,), "out": out, "views": VIEWS, "times": TIMES, "model": model, **fields})


def settings_of(folder: str, out: str = "unused", **fields: Any) -> StageSettings:
    """Of one worker with the torch engine."""
    engine = EngineSettings(kind="torch")
    return stage_settings(config_of(folder, out, workers=1, engine=engine, **fields))


def start_state(settings: StageSettings, worker: Worker) -> TrainState:
    """Where a run begins."""
    position = batch_stream(settings, worker, None).position
    return TrainState(0, position, LossRecord.for_steps(settings.steps), Guard(settings.guard))


def _grid(number: int) -> Grid:
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    v, t = np.arange(VIEWS)[:, None, None, None, None], np.arange(TIMES)[:, None, None, None]
    phase = rng.uniform(0, 6, 3)
    frames = 127 + 120 * np.sin(0.1 * x[..., None] + 0.13 * y[..., None] + 0.3 * v + 0.2 * t + phase)
    return Grid(frames=frames.astype(np.uint8), meta=GridMeta(key=f"wave-{number:04d}"))
