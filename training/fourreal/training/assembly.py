"""The model of a stage: at its start, and as it is exported."""

from __future__ import annotations

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


def finished_model(settings: StageSettings, weights: dict[str, torch.Tensor]) -> Backbone | GridModel:
    """The stage's model with the weights that an engine ended with, as it is exported, in evaluation mode."""
    model = build_model(settings, PixelBackbone(settings.model) if settings.stage == "grid" else None)
    model.load_state_dict(weights)
    merge_lora(model)
    return model.eval()
