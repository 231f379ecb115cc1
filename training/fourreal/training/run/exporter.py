"""Exports of a run while it goes on: from weights to `OUT/model`, in whichever thread, without touching training."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fourreal.training.stage.assembly import finished_model, model_skeleton
from fourreal.training.stage.exports import MODEL_FOLDER, Model, copy_autoencoder, export
from fourreal.training.stage.settings import StageSettings

EXPORTS_FOLDER = "exports"


class Exporter:
    """Makes exported models of a stage out of its weights.

    `facts` is what every export says of its making. Make one before random states are restored; using it draws none.
    """

    def __init__(self, settings: StageSettings, facts: dict[str, Any]) -> None:
        self._settings, self._facts = settings, facts
        self._skeleton = model_skeleton(settings)

    def export(self, weights: dict[str, Tensor], figures: dict[str, Any]) -> Model:
        """Put a model with these weights, which it takes over, into `OUT/model`; returns it.

        Every M-th (`--checkpoints.keep-every`) also stays in `OUT/exports/step-N`. Raises OSError when it cannot.
        """
        model = finished_model(self._skeleton, weights)
        record = {**figures, **self._facts, "settings": self._settings.to_json()}
        step, keep_every = figures["steps"], self._settings.checkpoints.keep_every
        if keep_every and step % keep_every == 0:
            self._export(model, f"{EXPORTS_FOLDER}/step-{step:08d}", record)
        self._export(model, MODEL_FOLDER, record)
        return model

    def _export(self, model: Model, name: str, record: dict[str, Any]) -> None:
        folder = self._settings.storage.child(name)
        if self._settings.data.coded:
            assert self._settings.start_from is not None, "a model of latents starts from a pretrained one"
            copy_autoencoder(self._settings.start_from, folder)
        export(model, folder, record)
