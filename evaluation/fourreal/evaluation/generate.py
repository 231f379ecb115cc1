"""`fourreal generate`: fill grids from their fixed-view and freeze-time videos with a trained model.

fourreal generate --model outputs/demo/model --conditions outputs/demo/held-out --out outputs/demo/generated
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from fourreal.evaluation.fit import FitMode
from fourreal.evaluation.grid_generator import Device, GeneratorSettings, make_generator, model_sha256, read_model
from fourreal.evaluation.shelf import Shelf
from fourreal.platform.config import as_yaml, command
from fourreal.platform.datajob import DataJob, Item, JobSummary, run_data_job
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage


@dataclass(frozen=True)
class Config:
    """Generate grids: from each grid's first view over time and first time over views, the model makes the rest."""

    model: str
    """Folder of an exported grid model."""
    conditions: str
    """Folder of shards; each grid gives its two videos, nothing else of it reaches the model."""
    out: str
    """Folder for the generated shards; each grid keeps its key."""
    steps: int = 4
    """Steps of the Euler sampler."""
    seed: int = 0
    """Seed of the noise; each grid draws from its own, made of this and its key."""
    fit: FitMode = "crop"
    """How frames come to the model's size: cut the middle out, or stretch."""
    limit: int | None = None
    """Generate the first so many grids alone."""
    items_per_shard: int = 8
    workers: int | None = None
    """Worker processes, one core each (default: all cores)."""
    device: Device = "cpu"
    retry_quarantined: bool = False


def run(config: Config) -> int:
    """Generate, or go on; returns the exit status. Raises UserError before any work for input that cannot be used."""
    return generate(config).exit_status


def generate(config: Config) -> JobSummary:
    """Like `run`, with the summary."""
    if config.steps < 1:
        raise UserError(f"--steps must be at least 1, not {config.steps}")
    if config.limit is not None and config.limit < 1:
        raise UserError(f"--limit must be at least 1, not {config.limit}")
    sha256 = model_sha256(config.model)
    read_model(config.model)  # a model that cannot be read must stop the job here, not fill the quarantine
    settings = dataclasses.asdict(GeneratorSettings(sha256, config.steps, config.seed, config.fit, config.device))
    return run_data_job(
        DataJob(
            name="generate",
            out=config.out,
            settings=settings,
            list_items=partial(_items, config),
            make_processor=partial(make_generator, config.model, config.conditions, settings),
            items_per_shard=config.items_per_shard,
            workers=config.workers,
            lossless=True,  # given frames must come back exactly, and scores must not depend on JPEG
            retry_quarantined=config.retry_quarantined,
            config_yaml=as_yaml(config),
        )
    )


def _items(config: Config) -> Iterator[Item]:
    shelf = Shelf(Storage(config.conditions))
    for key in shelf.keys[: config.limit]:
        record = shelf.record(key)
        assert record is not None
        address = f"{config.conditions.rstrip('/')}/{record.name}#{key}"
        yield Item(key, address, {"shard_sha256": record.sha256})


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal generate")


if __name__ == "__main__":
    raise SystemExit(main())
