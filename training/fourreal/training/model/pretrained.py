"""Models on disk: `model.safetensors`, `config.json` and a model card in one folder. Never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args, overload

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fourreal.training.model.backbones import make_backbone
from fourreal.training.model.backbones.base import Backbone, align
from fourreal.training.model.card import CARD_FILE, model_card
from fourreal.training.model.grid_model import GridModel
from fourreal.training.model.lora import LoraLinear
from fourreal.training.model.upsampler import Upsampler, UpsamplerConfig

SCHEMA_VERSION = 2
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"

Kind = Literal["base", "grid", "upsampler"]


def save_pretrained(
    model: Backbone | GridModel | Upsampler, folder: str | Path, training: dict[str, Any] | None = None
) -> Path:
    """Write the model to a folder (made if missing) and return it; `training` records how it was made."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    backbone = model if isinstance(model, Backbone) else model.backbone
    kind: Kind = "grid" if isinstance(model, GridModel) else "upsampler" if isinstance(model, Upsampler) else "base"
    description: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "architecture": model.architecture if isinstance(model, GridModel) else None,
        "backbone": backbone.name,
        "model": model.config.to_dict(),
        "training": training or {},
    }
    if any(isinstance(module, LoraLinear) for module in model.modules()):
        raise ValueError("the model has low-rank maps beside its weights; call merge_lora(model) before saving it")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps(description, indent=2) + "\n")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    (folder / CARD_FILE).write_text(model_card(description, parameters))
    return folder


@overload
def load_model(
    folder: str | Path, kind: Literal["base"], *, architecture: str | None = None, backbone: str | None = None
) -> Backbone: ...
@overload
def load_model(
    folder: str | Path, kind: Literal["grid"], *, architecture: str | None = None, backbone: str | None = None
) -> GridModel: ...
@overload
def load_model(
    folder: str | Path, kind: Literal["upsampler"], *, architecture: str | None = None, backbone: str | None = None
) -> Upsampler: ...
@overload
def load_model(
    folder: str | Path, kind: None = None, *, architecture: str | None = None, backbone: str | None = None
) -> Backbone | GridModel | Upsampler: ...


def load_model(
    folder: str | Path, kind: Kind | None = None, *, architecture: str | None = None, backbone: str | None = None
) -> Backbone | GridModel | Upsampler:
    """The model of a folder, in evaluation mode on the CPU, with the number types it was saved in.

    `kind`, `architecture`, `backbone`: what it has to be, if that matters.
    Raises ValueError in one sentence when the folder is no model, is another one than asked for, or when its weights
    do not fit its configuration.
    """
    folder = Path(folder)
    description = read_description(folder)
    found: tuple[str, ...] = (description["kind"], description["architecture"], description["backbone"])
    asked: tuple[str, ...] = (kind or found[0], architecture or found[1], backbone or found[2])
    if kind is not None and found[0] != kind:
        holds, needed = (f"an {name}" if name == "upsampler" else f"a {name}" for name in (found[0], kind))
        raise ValueError(f"{folder} holds {holds} model, {needed} model is needed; train or name one of that kind")
    if found != asked:
        raise ValueError(
            f"{folder} holds a {found[1] or found[0]} model on a {found[2]} backbone, "
            f"a {asked[1] or asked[0]} model on a {asked[2]} backbone is needed; train or name such a one"
        )
    model = _initial(description)
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder / WEIGHTS_FILE} cannot be read ({error}); export the model again") from error
    expected = model.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        wanted = tuple(expected[name].shape) if name in expected else "nothing"
        stored = tuple(weights[name].shape) if name in weights else "nothing"
        if wanted != stored:
            raise ValueError(
                f"{folder}: {CONFIG_FILE} describes {wanted} for {name} and {WEIGHTS_FILE} holds {stored}; "
                f"the two files are not from one export"
            )
    model.load_state_dict(weights, assign=True)  # the numbers keep the type they were saved in
    align(model)
    return model.eval()


def _initial(description: dict[str, Any]) -> Backbone | GridModel | Upsampler:
    if description["kind"] == "upsampler":
        return Upsampler(UpsamplerConfig.from_dict(description["model"]))
    backbone = make_backbone(description["backbone"], description["model"])
    return backbone if description["kind"] == "base" else GridModel(backbone, description["architecture"])


def read_description(folder: str | Path) -> dict[str, Any]:
    """`config.json` of a model folder: schema_version, kind, architecture, backbone, model, training.

    ValueError if unusable.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} is no exported model (no {CONFIG_FILE} in it); name a folder that training exported"
        )
    try:
        description: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); export the model again") from error
    version = description.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema version {version}, this fourreal reads {SCHEMA_VERSION}; use its own")
    if description.get("kind") not in get_args(Kind):
        known = ", ".join(get_args(Kind))
        raise ValueError(f"{path} names kind {description.get('kind')!r}, this fourreal knows {known}")
    return description
