"""What rank 0 does beside training: it tells how the run stands, exports models, has pictures made."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fourreal.platform.contact_sheet import write_png
from fourreal.training.checkpoint.writer import Saved
from fourreal.training.fit.train_state import TrainState
from fourreal.training.model import GridModel
from fourreal.training.model.coupling import synchronization_strength
from fourreal.training.report.pictures import sample_picture
from fourreal.training.report.plots import plot_coupling
from fourreal.training.report.sampler import SAMPLES_FILE, Sampler
from fourreal.training.report.tracker import Tracker
from fourreal.training.run.exporter import Exporter
from fourreal.training.stage.exports import MODEL_FOLDER, Model, load_any
from fourreal.training.stage.work_order import WorkOrder

RESULT_FILE = "result.json"


class Lead:
    """Rank 0's. `after_checkpoint` runs in the thread that writes checkpoints, the rest in the main thread."""

    def __init__(self, order: WorkOrder, world: int, device: torch.device) -> None:
        self.settings = settings = order.settings
        self.tracker = Tracker(settings, order.run_id, world, device)
        self._exporter = Exporter(settings, {**order.facts, "mlflow_run_id": order.run_id})
        self._sampler = Sampler(order, self._complain)
        self._checkpoints = 0
        self._kept = 0
        self.failed_checkpoints = 0

    def restored(self, step: int) -> None:
        """The run goes on from the checkpoint at a step."""
        self._kept = step
        self.tracker.note("restored_step", step, step, f"going on from the checkpoint at {step}")

    def after_checkpoint(self, saved: Saved, weights: dict[str, Tensor], figures: dict[str, Any]) -> None:
        """Export what was saved, and ask for a picture of it."""
        step = saved.step
        if saved.problem is not None:
            self.failed_checkpoints += 1
            sentence = f"no checkpoint at step {step} ({saved.problem}): going on, the last one is at {self._kept}"
            self.tracker.note("failed_checkpoints", self.failed_checkpoints, step, sentence)
        else:
            self._kept = step
        if step == self.settings.steps:  # `finish` exports this one
            return
        try:
            model = self._exporter.export(weights, figures)
        except OSError as error:
            self.tracker.note("failed_exports", 1, step, f"no export at step {step} ({error}): going on")
            return
        self._log_coupling(model, step)
        self._checkpoints += 1
        if (
            self.settings.samples.every
            and not self.settings.data.coded
            and self._checkpoints % self.settings.samples.every == 0
        ):
            self._sampler.ask(step)

    def finish(self, weights: dict[str, Tensor], end: TrainState, result: dict[str, Any], device: torch.device) -> None:
        """Export, pictures, and last of all the result file, which says that the stage is done."""
        self._sampler.close()
        self._log_coupling(self._exporter.export(weights, result), end.step)
        if not self.settings.data.coded:  # a picture of latents would take the autoencoder, which training does without
            self._picture(device)
        self.tracker.flush()
        self.settings.storage.write(RESULT_FILE, json.dumps(result, indent=1).encode())

    def _picture(self, device: torch.device) -> None:
        model = load_any(self.settings.storage.child(MODEL_FOLDER).uri).to(device)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / SAMPLES_FILE
            write_png(path, sample_picture(model, self.settings))
            self.settings.storage.write(SAMPLES_FILE, path.read_bytes())
            self.tracker.log_picture("samples", str(path), is_last=True)

    def _log_coupling(self, model: Model, step: int) -> None:
        strengths = synchronization_strength(model) if isinstance(model, GridModel) else ()
        if not strengths:
            return
        self.tracker.log({f"coupling/layer_{layer:02d}": value for layer, value in enumerate(strengths)}, step)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "coupling.png"
            plot_coupling(strengths, path)
            self.tracker.log_picture("coupling", str(path))

    def _complain(self, sentence: str) -> None:
        self.tracker.note("failed_samples", 1, 0, sentence)
