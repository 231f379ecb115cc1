"""The driver's side of a stage: its record beside the output, MLflow run, Ray Train, and the live line."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fourreal.platform import tracking
from fourreal.platform.errors import UserError
from fourreal.platform.repeating import repeating
from fourreal.platform.runtime import ray_is_ours, ray_session
from fourreal.platform.shards import list_shards, shards_sha256
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import StorageError
from fourreal.training.model.pretrained import CONFIG_FILE, WEIGHTS_FILE
from fourreal.training.report.tracker import read_progress
from fourreal.training.run.lead import RESULT_FILE
from fourreal.training.run.preflight import check_room
from fourreal.training.run.provenance import provenance
from fourreal.training.run.worker import run_worker
from fourreal.training.stage.exports import MODEL_FOLDER
from fourreal.training.stage.settings import StageSettings
from fourreal.training.stage.work_order import WorkOrder
from fourreal.training.workers.stopping import read_reason, sigterm_asks
from fourreal.training.workers.watchdog import take_report

RUN_FILE = "run.json"
_RAY_FOLDER = "ray"
_MAY_CHANGE = ("checkpoints.", "restarts.", "samples.", "validation", "data.loader.", "workers", "gpu_share")
"""Groups of settings that do not touch what is learned: a run may go on with others."""
EXPERIMENT = "training"
_LINE_EVERY_S = 5.0
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class StageResult:
    """How a stage ended."""

    steps: int
    start_loss: float
    end_loss: float
    samples_per_s: float
    wall_s: float
    skipped_steps: int = 0
    """Steps not taken because of their loss or gradient."""
    rollbacks: int = 0
    failed_checkpoints: int = 0
    validation_loss: float | None = None
    mfu: float | None = None
    """Share of the device's peak, lately; None where the peak is not known."""
    memory_gb: float | None = None
    """Of rank 0's process."""


def run_stage(settings: StageSettings, session: ExitStack, recipe: str = "") -> tuple[StageResult, str]:
    """Run a stage to its end, or go on with it, or find it done; returns its result and its MLflow run.

    `recipe` names the one that made the settings, for the record. Ray is started on `session` when there is something
    to do, so that two stages share it.
    Raises UserError when the output folder holds another run, or when the workers failed too often.
    """
    storage = settings.storage
    record = record_of(settings)
    if record is None:
        storage.check_writable()
    if record is None or not storage.exists(RESULT_FILE):
        check_room(settings)
        run_id = record["mlflow_run_id"] if record else None
        with tracking.run(EXPERIMENT, f"train {settings.stage}", settings.to_json(), run_id=run_id) as run_id:
            _write_record(settings, run_id)
            session.enter_context(ray_session(max(settings.workers, os.cpu_count() or 1)))
            facts = provenance(settings.data.folders, recipe)
            _fit(WorkOrder(settings, run_id, tracking.tracking_uri(), facts))
            _link(settings, run_id)
    else:
        run_id = record["mlflow_run_id"]
        print(f"train {settings.stage}: nothing left to do")
    return StageResult(**json.loads(storage.read(RESULT_FILE))), run_id


def record_of(settings: StageSettings) -> dict[str, Any] | None:
    """The record of the run that the output folder holds; None when it holds none.

    Raises UserError when that run has other settings.
    """
    if not settings.storage.exists(RUN_FILE):
        return None
    record: dict[str, Any] = json.loads(settings.storage.read(RUN_FILE))
    _check_same(settings, record["settings"])
    return record


def _check_same(settings: StageSettings, before: dict[str, Any]) -> None:
    now, was = tracking.flatten(json.loads(json.dumps(settings.to_json()))), tracking.flatten(before)
    changed = sorted(name for name in now.keys() | was.keys() if now.get(name) != was.get(name))
    if changed := [name for name in changed if not name.startswith(_MAY_CHANGE)]:
        name = changed[0]
        raise UserError(
            f"{settings.out} holds a run with other settings ({name} was {was.get(name)}, is now {now.get(name)}"
            f"{', and more' if len(changed) > 1 else ''}): choose another --out, or delete that folder"
        )


def _write_record(settings: StageSettings, run_id: str) -> None:
    document = {"settings": settings.to_json(), "mlflow_run_id": run_id}
    settings.storage.write(RUN_FILE, json.dumps(document, indent=1).encode())


def _link(settings: StageSettings, run_id: str) -> None:
    """What leads from this run to the runs that made its data, and from what its model makes back to it."""
    digests = {folder: shards_sha256(list_shards(Storage(folder))) for folder in settings.data.folders}
    tracking.log_datasets(digests, "training", run_id=run_id)
    digest = settings.storage.child(MODEL_FOLDER).sha256(WEIGHTS_FILE, CONFIG_FILE)
    tracking.client().MlflowClient().set_tag(run_id, "model_sha256", digest)


def _fit(order: WorkOrder) -> None:
    import ray
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    settings = order.settings
    alone = ray_is_ours()
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")  # a dead worker is replaced a second sooner
    if alone:  # Ray on this machine alone, which nobody drains: a process less to start
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # Longer than the watchdog's, which knows who is to blame. A process group's own timeout names nobody.
    group_timeout_s = int(2 * settings.restarts.hang_timeout_s) + 60
    trainer = TorchTrainer(
        run_worker,
        torch_config=TorchConfig(timeout_s=group_timeout_s),
        train_loop_config={"order": order},
        scaling_config=ScalingConfig(**scaling(settings, ray.cluster_resources())),
        run_config=RunConfig(
            name=_RAY_FOLDER,
            storage_path=settings.storage.root if settings.storage.is_local else settings.out,
            failure_config=FailureConfig(max_failures=settings.restarts.max_failures),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    if alone:
        _spare_the_cleaner(trainer)
    try:
        with _live_line(settings), sigterm_asks(settings.storage, settings.restarts.grace_s):
            trainer.fit()
    except TrainingFailedError as error:
        hang = take_report(settings.storage)
        raise UserError(f"{hang[1]}: the same command goes on" if hang else _reason(error)) from error
    except ray.exceptions.RayError as error:  # Ray itself is gone
        raise UserError(f"Ray stopped in the middle ({type(error).__name__}): run the same command to go on") from error
    if not settings.storage.exists(RESULT_FILE):
        raise UserError(read_reason(settings.storage) or "the workers ended without a result: run the same command")


def scaling(settings: StageSettings, resources: Mapping[str, float]) -> dict[str, Any]:
    """What Ray Train is asked for, by the field of its `ScalingConfig`: GPUs where there are enough, cores otherwise.

    UserError where there are too few cores, which each worker on a GPU takes as well.
    """
    workers, share, gpus = settings.workers, settings.gpu_share, resources.get("GPU", 0)
    if gpus and share < 1 and workers > 1:
        raise UserError(
            "workers of one run cannot share a GPU (NCCL takes one each): leave --gpu-share out, or --workers 1"
        )
    if (cores := resources.get("CPU", 0)) < workers:
        raise UserError(f"the cluster has {cores:.0f} cores: lower --workers {workers}, or start more hosts first")
    if gpus >= workers * share:
        return {"num_workers": workers, "use_gpu": True, "resources_per_worker": {"CPU": 1, "GPU": share}}
    if gpus:
        print(f"train: {gpus:g} GPUs are fewer than --workers {workers} need: training on CPU cores")
    return {"num_workers": workers, "use_gpu": False}


def _spare_the_cleaner(trainer: Any) -> None:
    """Without the actor that gives resources back when Ray Train's controller dies: here they go with the session.

    It asks the dashboard, which a session of one job does not have: a warning a second, and ten more to stop it.
    """
    defaults = trainer._create_default_callbacks
    trainer._create_default_callbacks = lambda: [
        callback for callback in defaults() if type(callback).__name__ != "PlacementGroupCleanerCallback"
    ]


def _reason(error: BaseException) -> str:
    """The sentence a worker raised for the user, or the last line of what it said."""
    failures = getattr(error, "worker_failures", {}) or {}
    for failure in failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, UserError):
                return str(cause)
            if isinstance(cause, StorageError) and cause.lasting:
                return f"{cause}; after that the same command goes on"
            if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
                return f"the disk is full ({cause}): free some space, then the same command goes on"
            cause = getattr(cause, "cause", None) or cause.__cause__
    last = (str(next(iter(failures.values()), error)).strip().splitlines() or ["no reason given"])[-1]
    return f"training failed on its workers ({last}): the log above says more; the same command goes on"


class _LiveLine:
    """How the stage stands: one line that is written over on a terminal, elsewhere another now and then."""

    def __init__(self, settings: StageSettings) -> None:
        self._settings = settings
        self._shown, self._shown_at = read_progress(settings.storage), 0.0

    def show(self) -> None:
        """Print it, if it is news."""
        try:
            note = read_progress(self._settings.storage)
        except OSError:  # an object store that is away
            return
        terminal, now = sys.stdout.isatty(), time.monotonic()
        if note is None or note == self._shown or (not terminal and now - self._shown_at < _LINE_EVERY_S):
            return
        self._shown, self._shown_at = note, now
        line = (
            f"train {self._settings.stage}  {note.step}/{note.steps}  loss {note.loss:.4f}  "
            f"{note.samples_per_s:.1f} samples/s  {timedelta(seconds=round(note.left_s))} left"
        )
        print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", flush=True)


@contextmanager
def _live_line(settings: StageSettings) -> Iterator[None]:
    """Print how the stage stands for as long as the block lasts."""
    try:
        with repeating(_LiveLine(settings).show, _LOOK_EVERY_S):
            yield
    finally:
        if sys.stdout.isatty():
            print("\r\033[K", end="")
