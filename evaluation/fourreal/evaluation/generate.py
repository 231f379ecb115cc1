"""`fourreal generate`: fill grids from their fixed-view and freeze-time videos with a trained model.

fourreal generate --model outputs/demo/model --conditions outputs/demo/held-out --out outputs/demo/generated
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fourreal.evaluation.exported import STARTER, model_sha256, read_pipeline
from fourreal.evaluation.fit import FitMode
from fourreal.evaluation.given import Border
from fourreal.evaluation.grid_generator import Device, GeneratorSettings, make_generator
from fourreal.evaluation.planned_grids import grid_items
from fourreal.platform.config import as_yaml, command
from fourreal.platform.datajob import DataJob, JobSummary, preview_data_job, run_data_job
from fourreal.platform.errors import UserError
from fourreal.platform.runtime import check_gpu_share
from fourreal.training.model.sampling import SamplerName, Sampling


@dataclass(frozen=True, kw_only=True)
class Config:
    """Generate grids: from each grid's first view over time and first time over views, the model makes the rest."""

    model: str = STARTER
    """Folder of an exported grid model; `starter` is a small one that is part of fourreal (`./starter` a folder), for
    moves of up to 25 degrees, 4 x 4 frames of 32x48 (grids of more: window by window)."""
    conditions: str
    """Folder of shards; each grid gives what `given` says, nothing else of it reaches the model."""
    out: str
    """Folder for the generated shards; each grid keeps its key."""
    steps: int = 4
    """Steps of the sampler."""
    sampler: SamplerName = "euler"
    """Solver; heun evaluates the model twice a step, euler and unipc once."""
    shift: float = 1.0
    """Above 1, more of the steps are spent at high noise: s' = k s / (1 + (k - 1) s)."""
    guidance: float = 1.0
    """Scale of the guidance by the given frames; 1 is none, any other costs a second evaluation a step."""
    given: Border = "border"
    """What is given: both videos along the grid's border, or one of them."""
    window_views: int | None = None
    """Views that are made together; more than these are made window by window (default: all at once)."""
    window_times: int | None = None
    """Times that are made together, likewise."""
    overlap_views: int = 1
    """Views that a window shares with the one before it."""
    overlap_times: int = 1
    """Times that a window shares with the one before it."""
    check_overlaps: bool = False
    """Make overlaps a second time and record their PSNR against the kept frames; costs as much again."""
    seed: int = 0
    """Seed of the noise; each grid draws from its own, made of this and its key."""
    upsampler: str | None = None
    """Folder of an exported upsampler for this model: frames are made as large as it makes them."""
    upsampler_steps: int = 4
    """Steps of the upsampler, with Euler's method."""
    upsampler_augmentation: float = 0.0
    """Noise on the frames before they are upsampled, as a level; lets the upsampler mend what the model did badly."""
    fit: FitMode = "crop"
    """How frames come to the model's size: cut the middle out, or stretch."""
    limit: int | None = None
    """Generate the first so many grids alone."""
    items_per_shard: int = 8
    workers: int | None = None
    """Worker processes, one core (or GPU) each (default: all of them)."""
    device: Device = "cpu"
    gpu_share: float = 1.0
    """Part of a GPU that a worker takes with --device cuda: with 0.25, four of them share one."""
    retry_quarantined: bool = False
    dry_run: bool = False
    """Check settings and sources, print what would be made, and make nothing."""


def run(config: Config) -> int:
    """Generate, or go on; returns the exit status. Raises UserError before any work for input that cannot be used."""
    if config.dry_run:
        preview_data_job(_data_job(config)).print_table("generate")
        return 0
    return generate(config).exit_status


def generate(config: Config) -> JobSummary:
    """Like `run`, with the summary."""
    return run_data_job(_data_job(config))


def _data_job(config: Config) -> DataJob:
    if config.limit is not None and config.limit < 1:
        raise UserError(f"--limit must be at least 1, not {config.limit}")
    check_gpu_share(config.gpu_share)
    settings = _settings(config)
    decisive = {name: value for name, value in settings.items() if name != "device"}
    return DataJob(
        name="generate",
        out=config.out,
        # A run may go on on another device, but not with other grids.
        settings={**decisive, "conditions": config.conditions, "limit": config.limit},
        list_items=partial(grid_items, config.conditions, config.limit),
        make_processor=partial(make_generator, config.model, config.upsampler, config.conditions, settings),
        items_per_shard=config.items_per_shard,
        workers=config.workers,
        gpus_per_worker=config.gpu_share if config.device == "cuda" else 0,
        lossless=True,  # given frames must come back exactly, and scores must not depend on JPEG
        retry_quarantined=config.retry_quarantined,
        config_yaml=as_yaml(config),
        reads=(config.conditions,),
    )


def _settings(config: Config) -> dict[str, Any]:
    """What travels to the workers. A setting or model that cannot be used stops here, not in the quarantine."""
    names = {field.name for field in dataclasses.fields(GeneratorSettings)}
    settings = GeneratorSettings(
        model_sha256=model_sha256(config.model),
        upsampler_sha256=None if config.upsampler is None else model_sha256(config.upsampler),
        **{name: value for name, value in vars(config).items() if name in names},
    )
    pipeline = read_pipeline(config.model, config.upsampler)
    try:
        _ = settings.sampling, settings.windows, Sampling(config.upsampler_steps)
        if pipeline.upsampler is not None:
            pipeline.upsampler.check_augmentation(config.upsampler_augmentation)
    except ValueError as error:
        raise UserError(str(error)) from None
    return dataclasses.asdict(settings)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal generate")


if __name__ == "__main__":
    raise SystemExit(main())
