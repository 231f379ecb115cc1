"""What Ray Train runs in every worker: restore, train, save checkpoints; rank 0 exports the model."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import torch

from fourreal.platform import logs
from fourreal.platform.runtime import compute_in_this_thread
from fourreal.training.checkpoint.snapshots import copied
from fourreal.training.checkpoint.store import CheckpointStore
from fourreal.training.checkpoint.writer import CheckpointWriter
from fourreal.training.engine.base import Engine
from fourreal.training.fit import train_state
from fourreal.training.fit.guard import Guard
from fourreal.training.fit.loop import Hooks, StepReport, batch_stream, train
from fourreal.training.fit.losses import LossRecord
from fourreal.training.fit.objective import objective_of
from fourreal.training.fit.train_state import TrainState
from fourreal.training.fit.validation import Validation
from fourreal.training.run.lead import Lead
from fourreal.training.stage.assembly import build_model
from fourreal.training.stage.exports import Model, load_any
from fourreal.training.stage.settings import StageSettings
from fourreal.training.stage.work_order import WorkOrder
from fourreal.training.workers import ranks
from fourreal.training.workers.ranks import Worker
from fourreal.training.workers.stopping import Stopped, StopWatch, raise_flag_on_sigterm, write_reason
from fourreal.training.workers.watchdog import Watchdog, take_report

CHECKPOINT_FOLDER = "checkpoints"


def run_worker(order: dict[str, Any]) -> None:
    """The train function for Ray Train; `order` is a `WorkOrder` under the key "order"."""
    import ray
    import ray.train

    # Signals can be handled in the main thread only, which is the actor's; this is another.
    ray.get(ray.get_runtime_context().current_actor.execute.remote(raise_flag_on_sigterm))
    context = ray.train.get_context()
    work: WorkOrder = order["order"]
    worker = Worker(context.get_world_rank(), context.get_world_size())
    logs.configure()
    with logs.about(job="train", run=work.run_id, stage=work.settings.stage, rank=worker.rank):
        _WorkerRun(work, worker).run()


class _WorkerRun:
    """One worker's run of a stage, between two restarts."""

    def __init__(self, order: WorkOrder, worker: Worker) -> None:
        os.environ["MLFLOW_TRACKING_URI"] = order.tracking_uri
        # By itself it tries for minutes to reach a server that is away, which holds up who waits for a picture.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        self.order, self.settings, self.worker = order, order.settings, worker
        self.device = _device()
        start = load_any(self.settings.start_from) if self.settings.start_from else None
        self.model = build_model(self.settings, start)
        self.engine = _engine(self.settings, self.model, self.device)
        self.noise = torch.Generator().manual_seed(self.settings.seed * 1000 + worker.rank)
        self.lead = Lead(order, worker.world, self.device) if worker.rank == 0 else None
        self.store = CheckpointStore(self.settings.storage.child(CHECKPOINT_FOLDER), self.settings.checkpoints, worker)
        self.writer = CheckpointWriter(self.store)
        held_out, objective = self.settings.validation_data, objective_of(self.model, self.settings.diffusion)
        self.validation = (
            Validation(held_out, self.settings.validation.samples, objective, worker) if held_out else None
        )
        self.validation_loss: float | None = None
        self.stop_watch = StopWatch(self.settings.storage, looks=worker.rank == 0)
        self.began = time.monotonic()

    def run(self) -> None:
        """From the newest checkpoint, or from nothing, to the export."""
        try:
            start = self._restored()
            with Watchdog(self.settings.storage, self.worker, self.settings.restarts.hang_timeout_s) as watchdog:
                hooks = Hooks(
                    self._on_step, self._on_checkpoint, self._on_rollback, self.stop_watch.asked, watchdog.mark
                )
                end = train(self.settings, self.engine, self.worker, self.noise, start, hooks)
                self.writer.wait()
        except Stopped as error:
            self._stop(str(error))
            return
        if end.step < self.settings.steps:
            if not any(ranks.gather(self.stop_watch.requested)):
                if self.lead is not None:
                    self.lead.tracker.flush()
                raise RuntimeError(f"a worker got SIGTERM: all go on from step {end.step} in new processes")
            self._stop(f"stopped at step {end.step} of {self.settings.steps}: the same command goes on")
            return
        weights = self.engine.weights(averaged=True)
        if self.lead is not None:
            self._finish(self.lead, weights, end, start.step)

    def _restored(self) -> TrainState:
        """The state that training starts from; everything else is put back."""
        if self.lead is not None and (hang := take_report(self.settings.storage)):
            step, sentence = hang
            self.lead.tracker.note("hang_at_step", step, step, sentence, tag="last_hang")
        state = self._newest()
        if state is None:
            position = batch_stream(self.settings, self.worker, None).position
            return TrainState(0, position, LossRecord.for_steps(self.settings.steps), Guard(self.settings.guard))
        if self.lead is not None:
            self.lead.restored(state.step)
        return state

    def _newest(self) -> TrainState | None:
        with self.store.newest() as found:
            if found is None:
                return None
            if found.damaged and self.lead is not None:
                sentence = f"{'; '.join(found.damaged)}: falling back to the one at step {found.step}"
                self.lead.tracker.note("damaged_checkpoints", len(found.damaged), found.step, sentence)
            return train_state.restore(
                found.folder, self.engine, self.noise, self.worker, self.settings.guard, shared=found.shared
            )

    def _on_step(self, report: StepReport, state: TrainState) -> None:
        if self.lead is not None:
            self.lead.tracker.add(report, state)

    def _validate(self, step: int) -> None:
        self.validation_loss = None
        # Not at the step of a SIGTERM: the seconds until the kill are for the checkpoint.
        due = step % self.settings.checkpoints.every == 0 or step == self.settings.steps
        if self.validation is not None and due:
            losses = self.validation.losses(self.engine, self.device)
            self.validation_loss = losses["validation_loss"]
            if self.lead is not None:
                self.lead.tracker.log(losses, step)

    def _on_checkpoint(self, state: TrainState) -> None:
        self._validate(state.step)
        began = time.perf_counter()
        snapshot = train_state.snapshot(self.engine, state, self.noise, self.worker, self.order.run_id)
        weights = self.engine.weights(averaged=True)
        lead = self.lead
        if lead is None:
            self.writer.save(state.step, snapshot, lambda saved: None)
            return
        weights, figures = copied(weights), {**_figures(state), "validation_loss": self.validation_loss}
        self.writer.save(state.step, snapshot, lambda saved: lead.after_checkpoint(saved, weights, figures))
        lead.tracker.add_stall(time.perf_counter() - began)

    def _on_rollback(self, state: TrainState) -> TrainState:
        self.writer.wait()
        before = self._newest()
        target = before or state  # without a checkpoint the weights of before the skipped steps are all there is
        if self.lead is not None:
            sentence = f"{state.guard.in_a_row} steps skipped in a row: from step {state.step} back to {target.step}"
            self.lead.tracker.note("rollbacks", state.guard.rollbacks + 1, state.step, sentence)
        return target

    def _stop(self, reason: str) -> None:
        if self.lead is not None:
            self.lead.tracker.flush()
            write_reason(self.settings.storage, reason)

    def _finish(self, lead: Lead, weights: dict[str, torch.Tensor], end: TrainState, first_step: int) -> None:
        wall_s = time.monotonic() - self.began
        trained = (end.step - first_step) * self.settings.shape.batch_size * self.worker.world
        figures = {
            **_figures(end),
            "validation_loss": self.validation_loss,
            "samples_per_s": trained / wall_s,
            "wall_s": wall_s,
            "mfu": lead.tracker.averages.get("mfu"),
            "memory_gb": lead.tracker.averages.get("memory_gb"),
            "failed_checkpoints": lead.failed_checkpoints,
        }
        lead.finish(weights, end, figures, self.device)


def _figures(state: TrainState) -> dict[str, Any]:
    """What a state says of the run so far."""
    return {
        "steps": state.step,
        "start_loss": state.losses.start,
        "end_loss": state.losses.end,
        "skipped_steps": state.guard.skipped,
        "rollbacks": state.guard.rollbacks,
    }


def _device() -> torch.device:
    import ray.train.torch

    compute_in_this_thread()  # batches are made by threads of their own
    device: torch.device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(1)  # a worker has one core
    return device


def _engine(settings: StageSettings, model: Model, device: torch.device) -> Engine:
    if settings.engine.kind == "torch":
        from fourreal.training.engine.torch import TorchEngine

        return TorchEngine(model, device, settings.optimizer, settings.engine)
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    # DeepSpeed 0.19 calls collectives by names that torch 2.13 announces to rename, once a step.
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    from fourreal.training.engine.deepspeed import DeepSpeedEngine

    return DeepSpeedEngine(model, device, settings.optimizer, settings.engine, settings.shape.batch_size)
