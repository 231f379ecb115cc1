"""What a study consists of, and what of it is finished: for its dry run."""

from __future__ import annotations

from fourreal.evaluation.studies.arms import ARMS
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.reconstructions import reconstruction_cells
from fourreal.evaluation.studies.scores import cell_of


def cells_of(config: Config) -> dict[str, list[str]]:
    """Every cell's name in the ledger, by stage."""
    tests = ["procedural", *(["real"] if config.assets else [])]
    data = ["rendered", *([] if config.videos else ["videos"]), "pseudo-4d", *(f"test-{test}" for test in tests)]
    runs = [(arm, seed) for seed in range(config.seeds) for arm in config.arms]
    scored = [
        cell_of(arm, seed, test, steps)
        for arm, seed in runs
        for test in tests
        for steps in ARMS[arm].steps(config.sampling_steps)
    ]
    return {
        "data": [f"data/{name}" for name in data],
        "base model": ["base/trained", "base/checked"],
        "arms trained": [f"arms/{arm}/seed-{seed}/trained" for arm, seed in runs],
        "scored": [*scored, *(f"baselines/{test}" for test in tests)],
        "taken apart": [f"parts/{arm}" for arm in config.arms],
        "reconstructed": [cell for test in tests for cell in reconstruction_cells(config, test).values()],
    }


def tell(config: Config) -> None:
    """Print how much of each stage is finished. UserError when the folder holds a study with other settings."""
    ledger = Ledger.look(config)
    print("study: a dry run, nothing was done or written")
    for stage, cells in cells_of(config).items():
        finished = sum(ledger.find(cell) is not None for cell in cells)
        print(f"  {stage:<16}{finished} of {len(cells)} finished")
    print(f"  {'where':<16}{config.out}")
