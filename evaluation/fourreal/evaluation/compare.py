"""`fourreal compare`: two or more models on the same grids, with a significance test.

fourreal compare outputs/generated-a outputs/generated-b --references outputs/held-out
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.comparison import Contest, comparison_text, contests
from fourreal.evaluation.grid_scores import MODEL
from fourreal.evaluation.metrics import STANDARD
from fourreal.evaluation.networks import Device
from fourreal.evaluation.networks.feature_cache import default_folder
from fourreal.evaluation.pretrained import REGISTRY
from fourreal.evaluation.protocol import PROTOCOLS
from fourreal.evaluation.records import Recorded, record, rows_of, slug
from fourreal.evaluation.scoring import Scoreboard
from fourreal.evaluation.scoring_job import ScoringJob, score_folder
from fourreal.evaluation.shelf import Shelf
from fourreal.platform.config import as_document, as_yaml, command
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage


@dataclass(frozen=True)
class Config:
    """Compare models on the grids that all of them generated, beside baselines that learn nothing."""

    predictions: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of generated shards, one for each model."""
    references: str
    """Folder of the true grids; pairs are found by key."""
    out: str = "outputs/comparison"
    """Folder for the table and its numbers."""
    names: tuple[str, ...] = ()
    """What to call the models (default: the folders' names)."""
    metrics: tuple[str, ...] = STANDARD
    """Which metrics, by name; an unknown name lists them, `all` takes them all."""
    protocol: Literal["4real-video", "4real-video-v2"] | None = None
    """The metrics of a paper's table instead."""
    weights: str | None = None
    """Folder or s3:// address of published weights (default: $FOURREAL_WEIGHTS, else ~/.cache/fourreal/weights)."""
    features: Path | None = None
    """Folder that keeps what networks said (default: $FOURREAL_FEATURES, else ~/.cache/fourreal/features)."""
    allow_few: bool = False
    """Give FID and FVD for fewer frames or videos than they need, marked in the table."""
    device: Device = "cpu"
    """Where the published networks run."""
    workers: int = 1
    """Processes that score, one core (or GPU) each."""
    resamples: int = 1000
    """Sets of grids drawn for each interval; ten times as many exchanges for each test."""
    seed: int = 0
    """Seed of those draws."""


@dataclass(frozen=True)
class Comparison:
    """What came of it."""

    boards: Mapping[str, Scoreboard]
    contests: Sequence[Contest]
    recorded: Recorded


def run(config: Config) -> None:
    """Score, compare, print, write and record. Raises UserError when there is nothing to compare."""
    compare(config)


def compare(config: Config) -> Comparison:
    """Like `run`, with the result."""
    names = _names(config)
    out = Storage(config.out)
    out.check_writable()
    keys, left_out = _common_keys(config, names)
    boards = {
        name: score_folder(_job(config, folder), config.workers, keys)
        for name, folder in zip(names, config.predictions, strict=True)
    }
    for name, board in boards.items():
        left_out |= {key: f"{name}: {reason}" for key, reason in board.not_compared.items()}
    found = contests(boards, config.resamples, config.seed)
    text = comparison_text(boards, found, left_out)
    print(text)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "comparison.txt").write_text(text)
        (folder / "comparison.json").write_text(json.dumps([c.record() for c in found], indent=1, allow_nan=False))
        (folder / "config.yaml").write_text(as_yaml(config))
        for path in sorted(folder.iterdir()):
            out.write_file(path.name, path)
        recorded = _record(folder, config, boards)
    print(f"comparison: {out.uri}\nMLflow: {recorded.run}\ncompare the rows: {recorded.comparison}")
    return Comparison(boards, found, recorded)


def _names(config: Config) -> tuple[str, ...]:
    if len(config.predictions) < 2:
        raise UserError("name two folders of predictions or more: `fourreal evaluate` scores one")
    names = config.names or tuple(folder.rstrip("/").rsplit("/", 1)[-1] for folder in config.predictions)
    if len(names) != len(config.predictions):
        raise UserError(f"--names gives {len(names)} names for {len(config.predictions)} folders")
    if len({slug(name) for name in (*names, *BASELINES)}) != len(names) + len(BASELINES):
        raise UserError(f"the models cannot be told apart by {', '.join(names)}: give each its own name with --names")
    return names


def _job(config: Config, predictions: str) -> ScoringJob:
    return ScoringJob(
        predictions,
        config.references,
        PROTOCOLS[config.protocol].metrics if config.protocol else config.metrics,
        config.weights,
        config.device,
        config.allow_few,
        config.features or default_folder(),
        REGISTRY,
    )


def _common_keys(config: Config, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The keys that all folders hold, and of the others who lacks them."""
    shelves = [Shelf(Storage(folder)) for folder in config.predictions]
    every = dict.fromkeys(key for shelf in shelves for key in shelf.keys)
    lacking = {
        key: [name for name, shelf in zip(names, shelves, strict=True) if shelf.record(key) is None] for key in every
    }
    common = [key for key, who in lacking.items() if not who]
    if not common:
        raise UserError("no grid was generated by all of the models: generate them from the same conditions")
    return common, {key: f"not generated by {', '.join(who)}" for key, who in lacking.items() if who}


def _record(folder: Path, config: Config, boards: Mapping[str, Scoreboard]) -> Recorded:
    rows = [row for name, board in boards.items() for row in rows_of(board, {MODEL: name})]
    rows += rows_of(next(iter(boards.values())), {name: name for name in BASELINES})
    datasets = [(uri, f"predictions_of_{slug(name)}") for name, uri in zip(boards, config.predictions, strict=True)]
    datasets.append((config.references, "references"))
    return record(folder, f"compare {' and '.join(boards)}", as_document(config), rows, datasets, {})


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal compare")


if __name__ == "__main__":
    raise SystemExit(main())
