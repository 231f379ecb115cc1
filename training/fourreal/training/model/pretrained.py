"""Models on disk: `model.safetensors`, `config.json` and a model card in one folder. Never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args, overload

import torch
from safetensors import SafetensorError, safe_open
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

_FIELDS: dict[str, Any] = {"architecture": str | None, "backbone": str, "model": dict, "training": dict}
_LARGEST_NUMBER = 1 << 20
"""In the configuration of a model: what claims more would take all memory before anything is compared."""
_LAYERS, _MOST_LAYERS = ("depth", "num_layers"), 1000


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
    try:
        save_file(weights, folder / WEIGHTS_FILE)
    except SafetensorError as error:  # a full disk, of which callers know as an OSError only
        raise OSError(f"cannot write {folder / WEIGHTS_FILE} ({error})") from error
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
    with torch.device("meta"):  # nothing is allocated for a configuration that does not fit the weights
        expected = {name: tuple(tensor.shape) for name, tensor in _initial(folder, description).state_dict().items()}
    try:
        with safe_open(folder / WEIGHTS_FILE, "pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
        for name in sorted(expected.keys() | held.keys()):
            if expected.get(name) != held.get(name):
                raise ValueError(
                    f"{folder}: {CONFIG_FILE} describes {expected.get(name, 'nothing')} for {name} and {WEIGHTS_FILE} "
                    f"holds {held.get(name, 'nothing')}; the two files are not from one export"
                )
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder / WEIGHTS_FILE} cannot be read ({error}); export the model again") from error
    model = _initial(folder, description)
    model.load_state_dict(weights, assign=True)  # the numbers keep the type they were saved in
    align(model)
    return model.eval()


def _initial(folder: Path, description: dict[str, Any]) -> Backbone | GridModel | Upsampler:
    try:
        if description["kind"] == "upsampler":
            return Upsampler(UpsamplerConfig.from_dict(description["model"]))
        backbone = make_backbone(description["backbone"], description["model"])
        return backbone if description["kind"] == "base" else GridModel(backbone, description["architecture"])
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE}: {error}") from error
    except Exception as error:  # a value of another type may fail anywhere in the making
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{folder / CONFIG_FILE} describes no model ({reason}); export the model again") from error


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
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); export the model again") from error
    if not isinstance(description, dict):
        raise ValueError(f"{path} holds no object; export the model again")
    version = description.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema version {version}, this fourreal reads {SCHEMA_VERSION}; use its own")
    if description.get("kind") not in get_args(Kind):
        known = ", ".join(get_args(Kind))
        raise ValueError(f"{path} names kind {description.get('kind')!r}, this fourreal knows {known}")
    for name, wanted in _FIELDS.items():
        if name not in description or not isinstance(description[name], wanted):
            raise ValueError(f"{path} has {description.get(name)!r} for {name}; export the model again")
    if (largest := _largest(description["model"])) > _LARGEST_NUMBER:
        raise ValueError(f"{path} describes a model with {largest} of something; export the model again")
    return description


def _largest(value: Any) -> float:
    """The largest number in plain data, and thousands of layers counted as too many of anything."""
    if isinstance(value, dict):
        layers = max((n for name in _LAYERS if isinstance(n := value.get(name), int)), default=0)
        return max([_LARGEST_NUMBER + layers if layers > _MOST_LAYERS else 0, *map(_largest, value.values())])
    if isinstance(value, list):
        return max(map(_largest, value), default=0)
    return abs(value) if isinstance(value, int | float) else 0
