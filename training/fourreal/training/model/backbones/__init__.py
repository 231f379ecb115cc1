"""Video diffusion transformers behind one interface (`Backbone`), by name. Each is imported when it is asked for."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, cast

from fourreal.training.model.backbones.base import Backbone

_MODULES = {"pixel": "PixelBackbone", "wan": "WanBackbone", "ltx": "LtxBackbone"}
_DIFFUSERS = {"WanTransformer3DModel": "wan", "LTXVideoTransformer3DModel": "ltx"}


def backbone_class(name: str) -> type[Backbone]:
    """The class of a backbone. ValueError for an unknown name, or when its library is not installed."""
    if name not in _MODULES:
        raise ValueError(f"backbone {name!r} is unknown; choose one of {', '.join(_MODULES)}")
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise ValueError(f"the {name} backbone needs diffusers ({error}); pip install 'fourreal[diffusers]'") from error
    return cast(type[Backbone], getattr(module, _MODULES[name]))


def make_backbone(name: str, config: dict[str, Any]) -> Backbone:
    """A backbone at its initialisation, from the plain data of `config.to_dict()`. ValueError if it cannot be."""
    return backbone_class(name).from_config(config)


def describe_diffusers(folder: str | Path) -> dict[str, Any] | None:
    """Kind, architecture, backbone and model of a diffusers folder, as an export's `config.json` has them.

    The folder is a transformer's or a pipeline's; None when it is neither. ValueError for another transformer.
    """
    names = ("transformer/config.json", "config.json")
    path = next((Path(folder) / name for name in names if (Path(folder) / name).is_file()), None)
    try:
        values = json.loads(path.read_text()) if path else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); fetch it again") from error
    found = values.get("_class_name") if isinstance(values, dict) else None
    if found is None:
        return None
    if found not in _DIFFUSERS:
        raise ValueError(f"{folder} holds a {found}; there are backbones for {', '.join(_DIFFUSERS)}")
    transformer = {name: value for name, value in values.items() if not name.startswith("_")}
    return {
        "kind": "base",
        "architecture": None,
        "backbone": _DIFFUSERS[found],
        "model": {"transformer": transformer},
    }


def load_diffusers(folder: str | Path) -> Backbone:
    """The backbone of a folder that `describe_diffusers` knows. ValueError when its files cannot be read."""
    description = describe_diffusers(folder)
    assert description is not None
    kind: Any = backbone_class(description["backbone"])
    try:
        backbone: Backbone = kind.from_pretrained(folder)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({str(error).splitlines()[0]}); fetch it again") from error
    return backbone
