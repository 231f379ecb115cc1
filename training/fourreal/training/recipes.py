"""Named recipes: functions that return the fields they set."""

from __future__ import annotations

from typing import Any


def demo() -> dict[str, Any]:
    """Both stages in a few minutes on two cores."""
    return {
        "stage": "both",
        "size": "nano",
        "height": 32,
        "width": 48,
        "patch_size": 8,
        "views": 4,
        "times": 4,
        "steps": 2400,
        "grid_steps": 600,
        "batch_size": 8,
        "grid_batch_size": 4,
        "lr": 2e-3,
        "workers": 2,
        "zero_stage": 2,
        "checkpoint_every": 300,
    }


def tiny() -> dict[str, Any]:
    """Both stages in well under a minute: does everything work here?"""
    return {**demo(), "steps": 60, "grid_steps": 20, "checkpoint_every": 20}


RECIPES = {"demo": demo, "tiny": tiny}
