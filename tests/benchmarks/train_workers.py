"""Figures of training that need several processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from train_workload import config_of, start_state

from fourreal.training.settings.groups import CheckpointSettings, EngineSettings

_BATCH = 16
"""Samples of a worker's step: with few, what workers tell each other is much of it."""


def rate_of_processes(folder: str, steps: int, worlds: Sequence[int]) -> float:
    """Samples a second of groups of DeepSpeed workers (ZeRO 2, gloo) that run at the same time, all together."""
    with tempfile.TemporaryDirectory() as meeting:
        context = mp.get_context("spawn")
        processes = [
            context.Process(target=_worker, args=(folder, steps, meeting, group, rank, world))
            for group, world in enumerate(worlds)
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise SystemExit("a worker of the benchmark failed: see above")
        return sum(float(path.read_text()) for path in Path(meeting).glob("rate-*"))


def _worker(folder: str, steps: int, meeting: str, group: int, rank: int, world: int) -> None:
    from fourreal.training.engine.deepspeed import DeepSpeedEngine
    from fourreal.training.fit.loop import Hooks, StepReport, train
    from fourreal.training.stage.assembly import build_model
    from fourreal.training.stage.settings import stage_settings
    from fourreal.training.workers.ranks import Worker

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "DS_ACCELERATOR": "cpu"}
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}/group-{group}", rank=rank, world_size=world)
    settings = stage_settings(config_of(folder, "unused", size="tiny", workers=world, steps=steps, batch_size=_BATCH))
    engine = DeepSpeedEngine(
        build_model(settings, None), torch.device("cpu"), settings.optimizer, settings.engine, _BATCH
    )
    worker, times_s = Worker(rank, world), list[float]()

    def on_step(report: StepReport) -> None:
        times_s.append(time.perf_counter())

    hooks = Hooks(lambda report, state: on_step(report), lambda state: None, lambda state: state)
    train(settings, engine, worker, torch.Generator().manual_seed(rank), start_state(settings, worker), hooks)
    step_s = statistics.median(b - a for a, b in itertools.pairwise(times_s[3:]))
    Path(meeting, f"rate-{group}-{rank}").write_text(str(_BATCH / step_s))
    dist.destroy_process_group()


def measure_restart(folder: str, workplace: Path) -> float:
    """Seconds from kill -9 of a worker of the real job to the first step of those that take its place."""
    from fourreal.training.train import run

    out = workplace / "restart"
    config = config_of(
        folder, str(out), workers=2, steps=400, batch_size=4, engine=EngineSettings(zero_stage=2),
        checkpoints=CheckpointSettings(every=20),
    )  # fmt: skip
    seconds: list[float] = []

    def kill() -> None:
        progress, checkpoints = out / "progress.json", out / "checkpoints"
        while not list(checkpoints.glob("step-*/manifest.json")):
            time.sleep(0.02)
        pid = json.loads(progress.read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        while json.loads(progress.read_text())["pid"] == pid:
            time.sleep(0.02)
        seconds.append(time.monotonic() - began)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    run(config)
    killer.join()
    return seconds[0]
