"""What training costs beside the steps themselves.

    python tests/benchmarks/train.py [--quick] [--json FILE]

loop_vs_bare_step       a step of the whole loop (data, guard, norms, clipping, reports) over forward, backward and
                        AdamW alone, on the same shapes, both in turns in one run: CPU time of the thread that trains
loop_vs_bare_step_wall  the same by the clock, with its waits for data and for other threads
data_wait_share         share of the loop's time that it waits for data
loader_vs_decode        see `train_loader.py`
two_workers_vs_one      samples a second of two DeepSpeed workers over one, one thread each, 16 samples a step each;
                        of a model of 3 M parameters
two_processes_vs_one    the same of two processes that know nothing of each other: what the machine has to give
checkpoint_stall_share  what a checkpoint of a model of 33 M parameters (0.39 GB of state) costs training, in the copy
                        and by what the thread that writes it takes from the steps meanwhile, at one every 5 minutes
restart_s               from the kill of one of two workers to the first new step (not with --quick)

The GPU's part is `train_gpu.py`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that are started
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from reporting import Benchmark
from train_loader import loader_figures
from train_workers import measure_restart, rate_of_processes
from train_workload import make_data, settings_of, start_state

from fourreal.platform import tracking
from fourreal.platform.storage import Storage
from fourreal.training.checkpoint.store import CheckpointStore
from fourreal.training.checkpoint.writer import CheckpointWriter
from fourreal.training.engine.torch import TorchEngine
from fourreal.training.fit import train_state
from fourreal.training.fit.loop import Hooks, StepReport, batch_stream, train
from fourreal.training.fit.objective import objective_of
from fourreal.training.fit.train_state import TrainState
from fourreal.training.report.tracker import Tracker
from fourreal.training.stage.assembly import build_model
from fourreal.training.stage.settings import StageSettings
from fourreal.training.workers.ranks import Worker

CPU, ALONE = torch.device("cpu"), Worker(0, 1)
CHECKPOINT_INTERVAL_S = 300.0
_TURN = 10
"""Steps of the loop, and then as many bare ones."""


@dataclass(frozen=True)
class Clocks:
    """CPU time of this thread, and the time on the wall."""

    thread_s: float
    wall_s: float

    @classmethod
    def now(cls) -> Clocks:
        """What both clocks show."""
        return cls(time.thread_time(), time.perf_counter())

    def passed(self) -> Clocks:
        """What has passed since."""
        now = Clocks.now()
        return Clocks(now.thread_s - self.thread_s, now.wall_s - self.wall_s)

    @classmethod
    def medians(cls, times: Sequence[Clocks]) -> Clocks:
        """Of each clock."""
        return cls(statistics.median(t.thread_s for t in times), statistics.median(t.wall_s for t in times))


def bare_step(settings: StageSettings) -> Callable[[], None]:
    """Forward, backward and AdamW on one batch that is there already."""
    model = build_model(settings, None)
    objective = objective_of(model, settings.diffusion)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    drawn = objective.draw(batch_stream(settings, ALONE, None).next(), torch.Generator().manual_seed(0), CPU)

    def step() -> None:
        objective.error(model, drawn).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def run_loop(settings: StageSettings, on_step: Callable[[StepReport], None]) -> None:
    """The loop as rank 0 has it, with its reports to MLflow; with nothing saved."""
    engine = TorchEngine(build_model(settings, None), CPU, settings.optimizer, settings.engine)
    with tracking.run("benchmark", "train", {}) as run_id:
        tracker = Tracker(settings, run_id, 1, CPU)

    def report_step(report: StepReport, state: TrainState) -> None:
        tracker.add(report, state)
        on_step(report)

    hooks = Hooks(report_step, lambda state: None, lambda state: state)
    train(settings, engine, ALONE, torch.Generator().manual_seed(0), start_state(settings, ALONE), hooks)
    tracker.flush()


def measure_loop(benchmark: Benchmark, folder: str) -> None:
    """The loop and the bare step in turns; then the loop alone, for its waits."""
    settings = settings_of(folder, out=f"{folder}-out", batch_size=4, steps=40 if benchmark.quick else 200)
    bare, times_s = bare_step(settings), {"loop": list[Clocks](), "bare": list[Clocks]()}
    last = Clocks.now()

    def on_step(report: StepReport) -> None:
        nonlocal last
        if report.step % _TURN != 1:  # the first of a turn finds more data waiting than it would
            times_s["loop"].append(last.passed())
        if report.step % _TURN == 0:
            for _ in range(_TURN):
                began = Clocks.now()
                bare()
                times_s["bare"].append(began.passed())
        last = Clocks.now()

    run_loop(settings, on_step)
    loop, bare_times = (Clocks.medians(times_s[name]) for name in ("loop", "bare"))
    benchmark.add("bare_step_ms", 1e3 * bare_times.thread_s)
    benchmark.add("loop_vs_bare_step", loop.thread_s / bare_times.thread_s)
    benchmark.add("loop_vs_bare_step_wall", loop.wall_s / bare_times.wall_s)
    reports: list[StepReport] = []
    run_loop(replace(settings, steps=settings.steps // 2), reports.append)
    settled = reports[5:]
    benchmark.add("data_wait_share", sum(r.wait_s for r in settled) / sum(r.wall_s for r in settled))


def measure_checkpoint(benchmark: Benchmark, folder: str) -> None:
    """Steps before, during and after the writing of one checkpoint."""
    settings = settings_of(folder, size="small", batch_size=1)
    engine = TorchEngine(build_model(settings, None), CPU, settings.optimizer, settings.engine)
    objective, noise = objective_of(engine.model, settings.diffusion), torch.Generator().manual_seed(0)
    drawn = objective.draw(batch_stream(settings, ALONE, None).next(), noise, CPU)

    def step() -> None:
        engine.backward(objective.error(engine.forward, drawn).mean())
        engine.step(1e-4)

    step()  # makes the optimizer's state
    calm_s = statistics.median(_seconds(step) for _ in range(3 if benchmark.quick else 7))
    with tempfile.TemporaryDirectory() as target:
        writer = CheckpointWriter(CheckpointStore(Storage(target), settings.checkpoints, ALONE))
        ended: list[Any] = []
        began, steps = time.perf_counter(), 0
        state: TrainState = start_state(settings, ALONE)
        snapshot = train_state.snapshot(engine, state, noise, ALONE, "")
        copy_s = time.perf_counter() - began
        writer.save(1, snapshot, ended.append)
        while not ended:
            step()
            steps += 1
        stall_s = time.perf_counter() - began - steps * calm_s
        written = sum(path.stat().st_size for path in Path(target).rglob("*") if path.is_file())
    benchmark.add("checkpoint_gb", written / 1e9)
    benchmark.add("checkpoint_copy_s", copy_s)
    benchmark.add("checkpoint_write_s", ended[0].wall_s)
    benchmark.add("checkpoint_stall_s", stall_s)
    benchmark.add("checkpoint_stall_share", max(copy_s, stall_s) / CHECKPOINT_INTERVAL_S)


def measure_workers(benchmark: Benchmark, folder: str) -> None:
    """One worker, two workers, and two that do not talk."""
    steps, rounds = (6, 1) if benchmark.quick else (14, 3)
    rates = [[rate_of_processes(folder, steps, worlds) for worlds in ((1,), (2,), (1, 1))] for _ in range(rounds)]
    benchmark.add("one_worker_samples_per_s", statistics.median(one for one, _, _ in rates))
    benchmark.add("two_workers_vs_one", statistics.median(two / one for one, two, _ in rates))
    benchmark.add("two_processes_vs_one", statistics.median(apart / one for one, _, apart in rates))


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    benchmark = Benchmark(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        make_data(f"{folder}/grids")
        measure_loop(benchmark, f"{folder}/grids")
        rounds = 5 if benchmark.quick else 40
        benchmark.add("loader_vs_decode", loader_figures(f"{folder}/textures", rounds)["loader_vs_decode"])
        measure_checkpoint(benchmark, f"{folder}/grids")
        measure_workers(benchmark, f"{folder}/grids")
        if benchmark.quick:
            print("  restart_s: not measured (--quick)")
        else:
            benchmark.add("restart_s", measure_restart(f"{folder}/grids", Path(folder)))
    if torch.cuda.is_available():
        from train_gpu import measure_gpu

        measure_gpu(benchmark)
    else:
        print("  GPU figures: not measured (no GPU)")
    benchmark.finish()


if __name__ == "__main__":
    main()
