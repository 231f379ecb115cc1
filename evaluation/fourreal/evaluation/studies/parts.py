"""What of a model carries its gain: grid models taken apart, each part alone in one step from noise.

A transformer and the convolutions behind it (`--model.refinement`) learn together, and scores of the whole do not tell
which of them learned. Where architectures do not differ, the first question is whether they carry anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import partial

from torch import nn

from fourreal.evaluation.metrics import PSNR, Comparison, Tally
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.ledger import Ledger, Record
from fourreal.evaluation.studies.training import arm_folder, model_of
from fourreal.platform.storage import Storage
from fourreal.training.model import GridModel, Pipeline, PixelBackbone, load_model

WHOLE, TRANSFORMER, REFINEMENT = "whole", "transformer alone", "refinement alone"


def take_apart(model: GridModel) -> dict[str, GridModel]:
    """The model, and copies of it in which one part is silent; nothing for a model that has no such parts.

    A silent transformer predicts no residual: what is refined then is the blend of the given frames.
    """
    backbone = model.backbone
    if model.refinement is None or not isinstance(backbone, PixelBackbone) or model.config.prediction != "residual":
        return {}
    unrefined, silent = deepcopy(model), deepcopy(model)
    unrefined.refinement = None
    assert isinstance(silent.backbone, PixelBackbone)
    for parameter in silent.backbone.head_linear.parameters():
        nn.init.zeros_(parameter)
    return {WHOLE: model, TRANSFORMER: unrefined, REFINEMENT: silent}


def check_parts(config: Config, tests: Mapping[str, str], ledger: Ledger) -> dict[str, Record]:
    """By arm and test set: PSNR over the whole image, in dB, of each part of the first seed's model."""

    def work(arm: str) -> Record:
        model = load_model(model_of(arm_folder(config, arm, 0)), "grid")
        assert isinstance(model, GridModel)
        parts = take_apart(model.eval().to(config.device))
        return {
            test: {name: _psnr(part, Shelf(Storage(folder)), config.seed) for name, part in parts.items()}
            for test, folder in tests.items()
        }

    return {arm: ledger.once(f"parts/{arm}", partial(work, arm)) for arm in config.arms}


def _psnr(model: GridModel, shelf: Shelf, seed: int) -> float | None:
    pipeline, metric, tally = Pipeline(model), PSNR(), Tally()
    for key in shelf.keys:
        encoded = shelf.grid(key)
        assert encoded is not None
        true = encoded.decode().frames
        made = pipeline(fixed_view=true[0], freeze_time=true[:, 0], steps=1, seed=seed)
        scored = Comparison(key, made.frames[~made.given], true[~made.given])
        tally = metric.accumulate(tally, metric.compute(scored))
    return metric.finalize(tally).value
