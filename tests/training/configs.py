"""Configurations for tests, from flat fields and groups as mappings, as recipes have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import Any

from fourreal.training.settings.config import Config

SMALL: dict[str, Any] = {"size": "nano", "height": 16, "width": 24}


def config_of(data: tuple[str, ...], out: str, **fields: Any) -> Config:
    """A configuration; a group is a mapping of the fields to set in it."""
    config: Config = _with(Config(data, out), fields)
    return config


def _with(group: Any, fields: Mapping[str, Any]) -> Any:
    changes = {}
    for name, value in fields.items():
        before = getattr(group, name)
        changes[name] = _with(before, value) if is_dataclass(before) and isinstance(value, Mapping) else value
    return replace(group, **changes)
