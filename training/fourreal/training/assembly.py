"""The model of a stage: at its start, and as it is exported."""

from __future__ import annotations

import copy

import torch

from fourreal.training.model import Backbone, GridModel, PixelBackbone, merge_lora
from fourreal.training.settings.stage import StageSettings


def build_model(settings: StageSettings, base: Backbone | None) -> Backbone | GridModel:
    """The stage's model at its start; equal on every worker. The grid stage starts from the exported base."""
    torch.manual_seed(settings.seed)
    model: Backbone | GridModel
    if settings.stage == "base":
        model = PixelBackbone(settings.model)
    else:
        assert base is not None
        model = GridModel(base, settings.architecture)
        model.trainable_parameters(settings.train, settings.lora)
    model.set_checkpointing(settings.engine.activation_checkpointing)
    return model.train()


def model_skeleton(settings: StageSettings) -> Backbone | GridModel:
    """The stage's model without numbers, on the device `meta`."""
    with torch.device("meta"):
        return build_model(settings, PixelBackbone(settings.model) if settings.stage == "grid" else None)


def finished_model(skeleton: Backbone | GridModel, weights: dict[str, torch.Tensor]) -> Backbone | GridModel:
    """A stage's model with the weights of an engine, which it takes over: to be exported, not to be run.

    (What follows from the configuration alone, such as tables of positions, is not in the weights: loading the export
    makes it.) No random number is drawn, so any thread may call it.
    """
    model = copy.deepcopy(skeleton)
    model.load_state_dict(weights, assign=True)
    merge_lora(model)
    return model.requires_grad_(False).eval()
