"""What a stage's model is: from what was asked for, and from the model that the stage starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from fourreal.platform.errors import UserError
from fourreal.training.model import (
    Architecture,
    LoraShape,
    PixelBackbone,
    PixelConfig,
    TrainPolicy,
    UpsamplerConfig,
)
from fourreal.training.model.pretrained import Kind
from fourreal.training.settings.checks import check_train
from fourreal.training.settings.config import Config
from fourreal.training.settings.groups import ModelSettings, Stage
from fourreal.training.stage.exports import read_start

_DEFAULTS: dict[str, Any] = {"size": "nano", "height": 32, "width": 48, "patch_size": 8, "prediction": "clean"}
_DEFAULT_ARCHITECTURE: Architecture = "soft"
_STARTS: dict[Stage, tuple[Kind, ...]] = {"base": ("base",), "grid": ("base", "grid"), "upsampler": ("upsampler",)}
"""Which kinds of model a stage can start from."""


@dataclass(frozen=True)
class ModelPlan:
    """A stage's model as plain data, as its export will describe it, and what of it trains."""

    backbone: str
    config: dict[str, Any]
    architecture: Architecture | None
    """Of the grid stage."""
    train: TrainPolicy
    lora: LoraShape

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width in pixels of the frames that the model reads; None where it reads latents."""
        pixels = self.config.get("backbone", self.config) if self.backbone == PixelBackbone.name else None
        return (pixels["height"], pixels["width"]) if pixels else None


def model_plan(config: Config, start_from: str | None) -> ModelPlan:
    """The model of a stage. UserError when what is asked for does not fit itself or the model it starts from."""
    asked, stage = config.model, config.stage
    start = read_start(start_from, _STARTS[stage]) if start_from else None
    lora = LoraShape(asked.lora_rank, asked.lora_alpha)
    if stage == "grid":
        assert start is not None
        architecture = cast(Architecture, asked.architecture or start["architecture"] or _DEFAULT_ARCHITECTURE)
        if start["architecture"] not in (None, architecture):
            raise UserError(
                f"the grid model in {start_from} is {start['architecture']}, {architecture} is asked for: "
                f"leave --model.architecture out, or start from a base model"
            )
        train = asked.train or ("sync-only" if architecture in ("soft", "hard") else "self-attention")
        check_train(train, architecture)
        return ModelPlan(start["backbone"], _started(asked, start, start_from), architecture, train, lora)
    if start is None:
        return ModelPlan(PixelBackbone.name, _new(config), None, "full", lora)
    if start["backbone"] != PixelBackbone.name:
        raise UserError(
            f"{start_from} holds a {start['backbone']} model, which is a base model already: start --stage grid from it"
        )
    return ModelPlan(PixelBackbone.name, _started(asked, start, start_from), None, "full", lora)


def _wishes(asked: ModelSettings) -> dict[str, Any]:
    wishes = {name: getattr(asked, name) for name in _DEFAULTS}
    wishes |= {"references": asked.references or None, "refinement": asked.refinement or None}
    return {name: value for name, value in wishes.items() if value is not None}


def _new(config: Config) -> dict[str, Any]:
    wishes = {**_DEFAULTS, **_wishes(config.model)}
    try:
        if config.stage == "base":
            return PixelConfig.of_size(**wishes).to_dict()
        size, height, width, factor = (
            wishes.pop("size"),
            wishes.pop("height"),
            wishes.pop("width"),
            config.model.upscale,
        )
        if height % factor or width % factor:
            raise UserError(f"frames of {height}x{width} are no {factor} times enlarged ones: change --model.upscale")
        low = (height // factor, width // factor)
        return UpsamplerConfig.of_size(size, low, (height, width), frames=config.times, **wishes).to_dict()
    except ValueError as error:
        raise UserError(str(error)) from None


def _started(asked: ModelSettings, start: dict[str, Any], where: str | None) -> dict[str, Any]:
    """The configuration of the model that a stage starts from, for frames of another size if that was asked for."""
    wishes, config = _wishes(asked), dict(start["model"])
    if start["backbone"] != PixelBackbone.name:
        if wishes:
            raise UserError(
                f"{where} holds a {start['backbone']} model, which has its own size: leave "
                f"--model.{next(iter(wishes)).replace('_', '-')} out"
            )
        return config
    inner = config["backbone"] if start["kind"] == "upsampler" else config
    sized = PixelConfig.of_size(wishes.pop("size")) if "size" in wishes else None
    fixed = {**wishes, **({"depth": sized.depth, "hidden_dim": sized.hidden_dim} if sized else {})}
    larger: dict[str, Any] = {}
    if start["kind"] != "upsampler":
        larger = {side: fixed.pop(side) for side in ("height", "width") if side in fixed}
    for name, value in fixed.items():
        if inner.get(name) != value:  # older exports lack what came later
            flag = "size" if name in ("depth", "hidden_dim") else name.replace("_", "-")
            raise UserError(
                f"the model in {where} has {name} {inner.get(name)}, this stage is asked for {value}: "
                f"leave --model.{flag} out"
            )
    try:
        return PixelConfig.from_dict({**config, **larger}).to_dict() if larger else config
    except ValueError as error:
        raise UserError(str(error)) from None
