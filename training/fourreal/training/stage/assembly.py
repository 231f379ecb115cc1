"""The model of a stage: at its start, and as it is exported."""

from __future__ import annotations

import copy

import torch

from fourreal.training.model import Backbone, GridModel, Upsampler, UpsamplerConfig, make_backbone, merge_lora
from fourreal.training.stage.exports import Model
from fourreal.training.stage.settings import StageSettings


def build_model(settings: StageSettings, start: Model | None) -> Model:
    """The stage's model at its start, from the model that it starts from; equal on every worker.

    All weights are fp32: those that train need it, and on a CPU the others would have to be converted at every step.
    """
    torch.manual_seed(settings.seed)
    model = _model(settings, start)
    if isinstance(model, GridModel):
        model.trainable_parameters(settings.model.train, settings.model.lora)
    model.set_checkpointing(settings.engine.activation_checkpointing)
    return model.float().train()


def model_skeleton(settings: StageSettings) -> Model:
    """The stage's model without numbers, on the device `meta`."""
    with torch.device("meta"):
        return build_model(settings, None)


def finished_model(skeleton: Model, weights: dict[str, torch.Tensor]) -> Model:
    """A stage's model with the weights of an engine, which it takes over: to be exported, not to be run.

    (What follows from the configuration alone, such as tables of positions, is not in the weights: loading the export
    makes it.) No random number is drawn, so any thread may call it.
    """
    model = copy.deepcopy(skeleton)
    model.load_state_dict(weights, assign=True)
    merge_lora(model)
    return model.requires_grad_(False).eval()


def _model(settings: StageSettings, start: Model | None) -> Model:
    plan = settings.model
    if settings.stage == "upsampler":
        upsampler = Upsampler(UpsamplerConfig.from_dict(plan.config))
        if start is not None:
            upsampler.load_state_dict(start.state_dict())
        return upsampler
    if settings.stage == "base":
        return _backbone(settings, start)
    assert plan.architecture is not None
    if not isinstance(start, GridModel):
        return GridModel(_backbone(settings, start), plan.architecture)
    model = GridModel(_backbone(settings, start.backbone), plan.architecture)
    model.view_time.load_state_dict(start.view_time.state_dict())
    for mine, its in ((model.references, start.references), (model.refinement, start.refinement)):
        if mine is not None and its is not None:
            mine.load_state_dict(its.state_dict())
    return model


def _backbone(settings: StageSettings, start: Model | None) -> Backbone:
    plan = settings.model
    if isinstance(start, Backbone) and (plan.size is None or start.config.to_dict() == plan.config):
        return start
    backbone = make_backbone(plan.backbone, plan.config)
    if start is not None:  # frames of another size: no weight depends on it
        backbone.load_state_dict(start.state_dict())
    return backbone
