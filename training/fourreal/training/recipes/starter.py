"""The recipes of the model that is part of the package (`fourreal.training.model.starter`).

Like the study's (`fourreal study --recipe cpu`), with frames of the demo's size; it took 23 minutes of a core that it
did not have to itself. Its data:

    fourreal render --assets procedural:400 --out RENDERED --seed 5000 \\
        --views 4 --times 4 --height 64 --width 96 --camera.arc-degrees 5 25 --fps 12
    fourreal sample-videos --count 48 --out VIDEOS --seed 5000
    fourreal synthesize --videos VIDEOS --clips-per-video 6 --out SYNTHESIZED --seed 5000 \\
        --views 4 --times 4 --height 64 --width 96
    fourreal train --recipe starter --data RENDERED SYNTHESIZED --mixture.weights 3 1 --out RUNS/starter
"""

from __future__ import annotations

from typing import Any

from fourreal.training.recipes.demo import BASE_MIXTURE, DIFFUSION, GRID_MODEL, SMALL_MODEL

_SHARED: dict[str, Any] = {
    "views": 4,
    "times": 4,
    "workers": 1,
    "engine": {"kind": "torch"},
    "optimizer": {"lr": 3e-3, "ema_decay": 0.99},
    "checkpoints": {"every": 100},
    "diffusion": DIFFUSION,
}


def starter_base() -> dict[str, Any]:
    """The base video model, 32x48."""
    model = {**SMALL_MODEL, "patch_size": 4}
    return {**_SHARED, "stage": "base", "steps": 500, "batch_size": 16, "model": model, "mixture": BASE_MIXTURE}


def starter_grid() -> dict[str, Any]:
    """The grid model on it, with soft synchronization."""
    start = {"start_from": "starter-base", "model": GRID_MODEL}
    return {**_SHARED, "stage": "grid", "steps": 400, "batch_size": 8, **start}
