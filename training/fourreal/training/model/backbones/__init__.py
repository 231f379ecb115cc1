"""Video diffusion transformers behind one interface (`Backbone`), by name. Each is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any, cast

from fourreal.training.model.backbones.base import Backbone

_MODULES = {"pixel": "PixelBackbone", "wan": "WanBackbone", "ltx": "LtxBackbone"}


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
