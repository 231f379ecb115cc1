"""What rank 0 tells the world while it trains: MLflow metrics, and a small file that the driver reads for its line."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import torch

from fourreal.platform import tracking
from fourreal.platform.logs import about
from fourreal.platform.storage import Storage
from fourreal.training.fit.breakdown import LossBreakdown
from fourreal.training.fit.loop import StepReport
from fourreal.training.fit.train_state import TrainState
from fourreal.training.report.metrics import TrainingMetrics
from fourreal.training.report.utilization import OperationCounter, device_peak, memory_in_use
from fourreal.training.stage.settings import StageSettings

PROGRESS_FILE = "progress.json"
_WRITE_EVERY_S = 1.0
_LOG_EVERY_S = 2.0
_SLOW_S = 1.0
"""A failure that took longer is of a server that is away; what MLflow refuses, it refuses at once."""
_PAUSE_S = 60.0


@dataclass(frozen=True)
class ProgressNote:
    """How a stage stands."""

    step: int
    steps: int
    loss: float
    """Mean of the latest losses on rank 0."""
    samples_per_s: float
    """Sequences or grids that all workers together train on in a second."""
    left_s: float
    pid: int
    """Process of rank 0."""


class Tracker:
    """Averages steps and passes them on now and then, from a thread: a step must not wait for a database.

    What MLflow refuses, or is not there to take, is said on the screen and lost; training does not depend on it.
    While a server is away all but the last of a run is lost for a minute at a time without being tried: else what is
    to be passed on would pile up behind attempts of a minute each, and who waits for a picture would wait for them all.
    """

    def __init__(self, settings: StageSettings, run_id: str, world: int, device: torch.device) -> None:
        self._settings, self._run_id, self._world, self._device = settings, run_id, world, device
        self._client: Any = tracking.client().MlflowClient()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tracker")
        self._away_until = 0.0
        self._notes = ThreadPoolExecutor(1, thread_name_prefix="progress")
        self._noted: Future[None] | None = None
        self._pending: list[StepReport] = []
        self._recent: list[tuple[float, int]] = []
        self._stall_s = 0.0
        self._written, self._logged = 0.0, time.monotonic()  # the first step is told at once
        self._breakdown = LossBreakdown(settings.data.folders)
        self._operations, self._peak = OperationCounter(settings), device_peak(device)
        ray = sys.modules.get("ray")  # not imported for this: it reads its settings from the environment then
        self._exported = TrainingMetrics(run_id, settings.stage) if ray and ray.is_initialized() else None
        self.averages: dict[str, float] = {}
        """The last values of the metrics of steps."""

    def add(self, report: StepReport, state: TrainState) -> None:
        """Take a step and the state after it."""
        self._pending.append(report)
        batch = report.batch
        self._breakdown.add(batch.times, batch.losses, batch.sources)
        self._recent = [*self._recent[-49:], (report.wall_s, len(batch.losses) * self._world)]
        now, is_last = time.monotonic(), report.step == self._settings.steps
        if now - self._written >= _WRITE_EVERY_S or is_last:
            self._written = now
            self._write_progress(report.step, state.losses.end, is_last)
        if now - self._logged >= _LOG_EVERY_S or is_last:
            self._logged = now
            self._log_steps(state, is_last)

    def add_stall(self, stall_s: float) -> None:
        """Time that training stood still for a checkpoint."""
        self._stall_s += stall_s

    def log(self, values: dict[str, float], step: int, *, is_last: bool = False) -> None:
        """Metrics that are not of every step. Any thread may call it. What `is_last` is tried in any case."""
        from mlflow.entities import Metric

        stamp_ms = int(time.time() * 1000)
        metrics = [Metric(name, value, stamp_ms, step) for name, value in values.items()]
        self._later(lambda: self._client.log_batch(self._run_id, metrics), is_last)

    def log_picture(self, name: str, local_path: str, *, is_last: bool = False) -> None:
        """Keep a picture with the run; it has been read when this returns. What `is_last` is tried in any case."""
        self._later(lambda: self._client.log_artifact(self._run_id, local_path, name), is_last).result()

    def note(self, metric: str, value: float, step: int, sentence: str, *, tag: str = "last_event") -> None:
        """Something that a person should know of: a line on the screen, a metric, and a tag of the run."""
        # Named again: the thread that writes checkpoints does not know what the worker's main thread is about.
        with about(job="train", run=self._run_id, stage=self._settings.stage, step=step):
            logging.getLogger(__name__).warning(sentence)
        self.log({metric: value}, step)
        self._later(lambda: self._client.set_tag(self._run_id, tag, sentence))

    def flush(self) -> None:
        """Return when all has been passed on."""
        self._pool.submit(lambda: None).result()
        self._notes.submit(lambda: None).result()

    def _later(self, call: Callable[[], object], is_last: bool = False) -> Future[None]:
        def attempt() -> None:
            began = time.monotonic()
            if began < self._away_until and not is_last:
                return
            try:
                call()
            except Exception as error:
                logging.getLogger(__name__).warning("MLflow did not take something (%s)", error)
                now = time.monotonic()
                if now - began > _SLOW_S:
                    self._away_until = now + _PAUSE_S

        return self._pool.submit(attempt)

    def _write_progress(self, step: int, loss: float, is_last: bool) -> None:
        if self._noted is not None and not self._noted.done() and not is_last:
            return  # an object store that takes its time: a later note says more
        wall_s, samples = map(sum, zip(*self._recent, strict=True))
        left_s = (self._settings.steps - step) * wall_s / len(self._recent)
        note = ProgressNote(step, self._settings.steps, loss, samples / wall_s, left_s, os.getpid())
        self._noted = self._notes.submit(self._put, json.dumps(asdict(note)).encode())

    def _put(self, note: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk: the line stands still, training goes on
            self._settings.storage.write(PROGRESS_FILE, note)

    def _log_steps(self, state: TrainState, is_last: bool) -> None:
        reports, self._pending = self._pending, []
        wall_s = sum(report.wall_s for report in reports)
        taken = [report for report in reports if report.taken]
        values = {
            "learning_rate": reports[-1].learning_rate,
            "samples_per_s": self._world * sum(len(report.batch.losses) for report in reports) / wall_s,
            "data_wait_fraction": sum(report.wait_s for report in reports) / wall_s,
            "skipped_steps": float(state.guard.skipped),
            "checkpoint_stall_s": self._stall_s,
            **memory_in_use(self._device),
            **self._breakdown.take(),
        }
        operations_per_s = sum(self._operations(report.batch.shape) for report in reports) / wall_s
        values["tflops_per_worker"] = operations_per_s / 1e12
        if self._peak is not None:
            values["mfu"] = operations_per_s / self._peak
        if taken:
            values["loss"] = sum(report.loss for report in taken) / len(taken)
            values["gradient_norm"] = sum(report.norms.gradient for report in taken) / len(taken)
            values["update_norm"] = sum(report.norms.update for report in taken) / len(taken)
        self.averages = values
        self.log(values, reports[-1].step, is_last=is_last)
        if self._exported is not None:
            self._exported.set({**values, "step": reports[-1].step, "steps": self._settings.steps})


def read_progress(storage: Storage) -> ProgressNote | None:
    """The latest note; None before the first."""
    if not storage.exists(PROGRESS_FILE):
        return None
    return ProgressNote(**json.loads(storage.read(PROGRESS_FILE)))
