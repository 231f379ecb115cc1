"""Named recipes: functions that return the fields they set, and chains of them that run one after the other.

A recipe that starts from another's model names it; it is looked for beside --out. `paper-grid-pseudo4d` with
`--out RUNS/paper-grid-pseudo4d` starts from `RUNS/paper-base-72x128`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

from fourreal.training.recipes.demo import demo_base, demo_grid
from fourreal.training.recipes.paper import CHAIN, SCALES, STAGES, Scale
from fourreal.training.recipes.starter import starter_base, starter_grid


def _sized(stage: str, scale: Scale) -> Callable[[], dict[str, Any]]:
    return update_wrapper(partial(STAGES[stage], scale), STAGES[stage])


RECIPES: dict[str, Callable[[], dict[str, Any]]] = {
    "demo-base": demo_base,
    "demo-grid": demo_grid,
    "starter-base": starter_base,
    "starter-grid": starter_grid,
}
RECIPES |= {f"{scale}-{stage}": _sized(stage, scale) for scale in SCALES for stage in STAGES}
CHAINS: dict[str, tuple[str, ...]] = {
    "demo": ("demo-base", "demo-grid"),
    "starter": ("starter-base", "starter-grid"),
}
CHAINS |= {scale: tuple(f"{scale}-{stage}" for stage in CHAIN) for scale in SCALES}
