"""What rank 0 tells the world while it trains: MLflow metrics, and a small file that the driver reads for its line."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from fourreal.platform import tracking
from fourreal.platform.storage import Storage
from fourreal.training.checkpoints import TrainState
from fourreal.training.loop import StepReport

PROGRESS_FILE = "progress.json"
_WRITE_EVERY_S = 1.0
_LOG_EVERY_S = 2.0


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
    """Averages steps and passes them on now and then: a step must not wait for a database."""

    def __init__(self, storage: Storage, run_id: str, steps: int, samples_per_step: int) -> None:
        self.storage, self.run_id = storage, run_id
        self.steps, self.samples_per_step = steps, samples_per_step
        self._client: Any = tracking.client().MlflowClient()
        self._pending: list[StepReport] = []
        self._recent: list[float] = []
        self._skipped = 0
        self._stall_s = 0.0
        self._written, self._logged = 0.0, time.monotonic()  # the first step is told at once

    def add(self, report: StepReport, state: TrainState) -> None:
        """Take a step and the state after it."""
        self._skipped, mean_loss = state.guard.skipped, state.losses.end
        self._pending.append(report)
        self._recent = [*self._recent[-49:], report.wall_s]
        now = time.monotonic()
        if now - self._written >= _WRITE_EVERY_S or report.step == self.steps:
            self._written = now
            step_s = sum(self._recent) / len(self._recent)
            left_s = (self.steps - report.step) * step_s
            note = ProgressNote(report.step, self.steps, mean_loss, self.samples_per_step / step_s, left_s, os.getpid())
            with contextlib.suppress(OSError):  # a full disk: the line stands still, training goes on
                self.storage.write(PROGRESS_FILE, json.dumps(asdict(note)).encode())
        if now - self._logged >= _LOG_EVERY_S or report.step == self.steps:
            self._logged = now
            self._log()

    def add_stall(self, stall_s: float) -> None:
        """Time that training stood still for a checkpoint."""
        self._stall_s += stall_s

    def log(self, values: dict[str, float], step: int) -> None:
        """Metrics that are not of every step."""
        from mlflow.entities import Metric

        stamp_ms = int(time.time() * 1000)
        self._client.log_batch(self.run_id, [Metric(name, value, stamp_ms, step) for name, value in values.items()])

    def log_picture(self, name: str, local_path: str) -> None:
        """Keep a picture with the run."""
        self._client.log_artifact(self.run_id, local_path, name)

    def note(self, metric: str, value: float, step: int, sentence: str, *, tag: str = "last_event") -> None:
        """Something that a person should know of: a line on the screen, a metric, and a tag of the run."""
        logging.getLogger(__name__).warning(sentence)
        self._client.log_metric(self.run_id, metric, value, step=step)
        self._client.set_tag(self.run_id, tag, sentence)

    def _log(self) -> None:
        count, step = len(self._pending), self._pending[-1].step
        wall_s = sum(report.wall_s for report in self._pending)
        taken = [report for report in self._pending if report.taken]
        values = {
            "learning_rate": self._pending[-1].learning_rate,
            "samples_per_s": count * self.samples_per_step / wall_s,
            "data_wait_fraction": sum(report.wait_s for report in self._pending) / wall_s,
            "skipped_steps": float(self._skipped),
            "checkpoint_stall_s": self._stall_s,
        }
        if taken:
            values["loss"] = sum(report.loss for report in taken) / len(taken)
            values["gradient_norm"] = sum(report.norms.gradient for report in taken) / len(taken)
            values["update_norm"] = sum(report.norms.update for report in taken) / len(taken)
        self.log(values, step)
        self._pending = []


def read_progress(storage: Storage) -> ProgressNote | None:
    """The latest note; None before the first."""
    if not storage.exists(PROGRESS_FILE):
        return None
    return ProgressNote(**json.loads(storage.read(PROGRESS_FILE)))
