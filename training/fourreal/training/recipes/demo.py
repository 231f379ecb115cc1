"""The recipes of `make demo`: the smallest model that learns something to look at in minutes on two cores."""

from __future__ import annotations

from typing import Any

# What minutes are enough for: to mend a blend of the given frames, and to do it in one step as in four.
SMALL_MODEL: dict[str, Any] = {
    "size": "nano", "height": 32, "width": 48, "prediction": "residual", "references": True, "refinement": 24,
}  # fmt: skip
GRID_MODEL: dict[str, Any] = {"architecture": "soft", "train": "full"}
BASE_MIXTURE: dict[str, Any] = {"first_frame_alone": 0.25, "both_ends": 0.5}
DIFFUSION: dict[str, Any] = {"weight": "log", "pure_noise": 0.5}

_SHARED: dict[str, Any] = {
    "views": 4,
    "times": 4,
    "workers": 2,
    "optimizer": {"lr": 2e-3},
    "engine": {"zero_stage": 2},
    "checkpoints": {"every": 300},
    "diffusion": DIFFUSION,
}


def demo_base() -> dict[str, Any]:
    """The demo's base video model, 32x48: two minutes on two cores."""
    model = {**SMALL_MODEL, "patch_size": 8}
    return {**_SHARED, "stage": "base", "steps": 600, "batch_size": 8, "model": model, "mixture": BASE_MIXTURE}


def demo_grid() -> dict[str, Any]:
    """The demo's grid model on it: five minutes on two cores."""
    return {**_SHARED, "stage": "grid", "steps": 400, "batch_size": 4, "start_from": "demo-base", "model": GRID_MODEL}
