"""Named recipes: functions that return the fields they set, and chains of them that run one after the other."""

from __future__ import annotations

from typing import Any


def demo_base() -> dict[str, Any]:
    """The demo's base video model: minutes on two cores."""
    return {
        "stage": "base",
        "steps": 2400,
        "batch_size": 8,
        "views": 4,
        "times": 4,
        "workers": 2,
        "model": {"size": "nano", "height": 32, "width": 48, "patch_size": 8},
        "optimizer": {"lr": 2e-3},
        "engine": {"zero_stage": 2},
        "checkpoints": {"every": 300},
    }


def demo_grid() -> dict[str, Any]:
    """The demo's grid model: a minute on two cores."""
    fields = {**demo_base(), "stage": "grid", "steps": 600, "batch_size": 4}
    del fields["model"]  # it has its base's
    return fields


def tiny_base() -> dict[str, Any]:
    """A base video model in seconds: does everything work here?"""
    return {**demo_base(), "steps": 60, "checkpoints": {"every": 20}}


def tiny_grid() -> dict[str, Any]:
    """A grid model in seconds."""
    return {**demo_grid(), "steps": 20, "checkpoints": {"every": 20}}


RECIPES = {"demo-base": demo_base, "demo-grid": demo_grid, "tiny-base": tiny_base, "tiny-grid": tiny_grid}
CHAINS = {"demo": ("demo-base", "demo-grid"), "tiny": ("tiny-base", "tiny-grid")}
