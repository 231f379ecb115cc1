"""What Ray Train runs in every worker: restore, train, report checkpoints; rank 0 exports the model."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fourreal.platform.contact_sheet import write_png
from fourreal.training import checkpoints
from fourreal.training.checkpoints import TrainState
from fourreal.training.engine import Engine
from fourreal.training.exports import export, load_base
from fourreal.training.loop import Hooks, StepReport, batch_stream, build_model, finished_model, train
from fourreal.training.losses import LossRecord
from fourreal.training.model import Backbone, GridModel
from fourreal.training.order import Worker
from fourreal.training.pictures import sample_picture
from fourreal.training.settings import StageSettings
from fourreal.training.tracker import Tracker

MODEL_FOLDER = "model"
RESULT_FILE = "result.json"
SAMPLES_FILE = "samples.png"


@dataclass(frozen=True)
class WorkerOrder:
    """What the driver hands to its workers."""

    settings: StageSettings
    run_id: str
    tracking_uri: str


def run_worker(order: dict[str, Any]) -> None:
    """The train function for Ray Train; `order` is a `WorkerOrder` under the key "order"."""
    import ray.train

    context = ray.train.get_context()
    checkpoint = ray.train.get_checkpoint()
    _WorkerRun(order["order"], Worker(context.get_world_rank(), context.get_world_size())).run(checkpoint)


class _WorkerRun:
    """One worker's run of a stage, between two restarts."""

    def __init__(self, order: WorkerOrder, worker: Worker) -> None:
        os.environ["MLFLOW_TRACKING_URI"] = order.tracking_uri
        self.order, self.settings, self.worker = order, order.settings, worker
        self.device = _device()
        base = load_base(self.settings.base) if self.settings.base else None
        self.model = build_model(self.settings, base)
        self.engine = _engine(self.settings, self.model, self.device)
        self.noise = torch.Generator().manual_seed(self.settings.seed * 1000 + worker.rank)
        samples = self.settings.shape.batch_size * worker.world
        self.tracker = (
            Tracker(self.settings.storage, order.run_id, self.settings.steps, samples) if worker.rank == 0 else None
        )
        self.began = time.monotonic()

    def run(self, checkpoint: Any) -> None:
        """From a Ray checkpoint, or None, to the export."""
        if checkpoint is None:
            position = batch_stream(self.settings, self.worker, None).position
            start = TrainState(0, position, LossRecord.for_steps(self.settings.steps))
        else:
            with checkpoint.as_directory() as folder:
                start = checkpoints.restore(Path(folder), self.engine, self.noise, self.worker)
        if self.tracker is not None and start.step:
            logging.getLogger(__name__).warning("going on from the checkpoint at step %d", start.step)
            self.tracker.log_restore(start.step)
        hooks = Hooks(self._on_step, self._on_checkpoint)
        end = train(self.settings, self.engine, self.worker, self.noise, start, hooks)
        weights = self.engine.weights()
        if self.tracker is not None:
            self._finish(weights, end, start.step)

    def _on_step(self, report: StepReport, state: TrainState) -> None:
        if self.tracker is not None:
            self.tracker.add(report, state.losses.end)

    def _on_checkpoint(self, state: TrainState) -> None:
        import ray.train
        from ray.train import CheckpointConsistencyMode

        with tempfile.TemporaryDirectory() as folder:
            checkpoints.save(Path(folder), self.engine, state, self.noise, self.worker, self.order.run_id)
            report = {"step": state.step, "loss": state.losses.end}
            ray.train.report(report, checkpoint=ray.train.Checkpoint.from_directory(folder))
        # Until Ray has committed it, a kill would go back to the checkpoint before this one.
        ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED)

    def _finish(self, weights: dict[str, torch.Tensor], end: TrainState, first_step: int) -> None:
        """Rank 0: export, pictures, and last of all the result file, which says that the stage is done."""
        assert self.tracker is not None
        settings = self.settings
        model = finished_model(settings, weights).to(self.device)
        wall_s = time.monotonic() - self.began
        trained = (end.step - first_step) * settings.shape.batch_size * self.worker.world
        result = {
            "steps": end.step,
            "start_loss": end.losses.start,
            "end_loss": end.losses.end,
            "samples_per_s": trained / wall_s,
            "wall_s": wall_s,
        }
        record = {**result, "settings": settings.to_json(), "mlflow_run_id": self.order.run_id}
        export(model, settings.storage.child(MODEL_FOLDER), record)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / SAMPLES_FILE
            write_png(path, sample_picture(model, settings))
            settings.storage.write(SAMPLES_FILE, path.read_bytes())
            self.tracker.log_picture("samples", str(path))
        settings.storage.write(RESULT_FILE, json.dumps(result, indent=1).encode())


def _device() -> torch.device:
    import ray.train.torch

    device: torch.device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(1)  # a worker has one core
    return device


def _engine(settings: StageSettings, model: Backbone | GridModel, device: torch.device) -> Engine:
    if settings.engine == "torch":
        from fourreal.training.engine_torch import TorchEngine

        return TorchEngine(model, device)
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    # DeepSpeed 0.19 calls collectives by names that torch 2.13 announces to rename, once a step.
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    from fourreal.training.engine_deepspeed import DeepSpeedEngine

    return DeepSpeedEngine(model, device, settings.zero_stage, settings.shape.batch_size)
