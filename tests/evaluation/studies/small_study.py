"""A study that was not run: its settings, and a ledger with made-up scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.studies.arms import ARMS
from fourreal.evaluation.studies.config import Config, quick
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.scores import TRUE, cell_of

KEYS = tuple(f"grid-{i}" for i in range(14))
REASON = "no weights: fetch them"


def small_config(out: Path, **changes: Any) -> Config:
    fields = quick()
    del fields["data"], fields["fit"]
    defaults = {
        "metrics": ("psnr", "flicker", "lpips"),
        "reconstruction_grids": 0,
        "seeds": 2,
        "sampling_steps": (1, 4),
    }
    return Config(out=out, **{**fields, **defaults, **changes})


def fill(
    config: Config,
    ledger: Ledger,
    psnr_db: dict[tuple[str, int], float],
    test: str = "procedural",
    metric: str = "psnr",
) -> None:
    """PSNR of each arm (by name and steps) and baseline (steps 0): seed 1 has 2 dB more than seed 0, grids differ."""

    def scores(value: float) -> dict[str, Any]:
        return {
            metric: {key: [value + 0.1 * i, 4, ""] for i, key in enumerate(KEYS)},
            "flicker": {key: [3.0, 4, ""] for key in KEYS},
            "lpips": {key: [None, 0, REASON] for key in KEYS},
        }

    for arm in config.arms:
        for steps in ARMS[arm].steps(config.sampling_steps):
            for seed in range(config.seeds):
                ledger.finish(cell_of(arm, seed, test, steps), scores(psnr_db[arm, steps] + 2 * seed))
    true = {"flicker": {key: [3.5, 4, ""] for key in KEYS}}
    ledger.finish(f"baselines/{test}", {name: scores(psnr_db[name, 0]) for name in BASELINES} | {TRUE: true})


PSNR_DB = {
    ("sequential", 1): 20.0, ("sequential", 4): 18.0, ("soft", 1): 22.0, ("soft", 4): 19.0, ("regression", 1): 22.5,
    ("copy along time", 0): 18.0, ("copy along views", 0): 17.0, ("average", 0): 21.0, ("blurred average", 0): 22.8,
    ("additive", 0): 16.0,
}  # fmt: skip
