"""What a person asks of `fourreal train`: the fields used most, and groups of the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from fourreal.training.model.flow import TimeSampling
from fourreal.training.settings.groups import (
    AugmentSettings,
    CheckpointSettings,
    EngineSettings,
    GuardSettings,
    LoaderSettings,
    MixtureSettings,
    ModelSettings,
    OptimizerSettings,
    RestartSettings,
    SampleSettings,
    Stage,
    ValidationSettings,
)


@dataclass(frozen=True)
class Config:
    """Fit a model to folders of grid shards, one stage at a time, or several of them as a recipe.

    Killed at any moment, the same command goes on from the last checkpoint; finished, it does nothing.
    """

    data: tuple[str, ...]
    """Folders of shards, local or s3://; rendered and synthesized grids mix."""
    out: str
    """Where checkpoints, samples and the exported model (OUT/model) go. Of a recipe of several stages it is the last
    one's; the others have OUT/NAME."""
    stage: Stage = "base"
    """What to fit: the base video model on fixed-view and freeze-time videos, the grid model on top of it, or the
    upsampler behind it."""
    start_from: str | None = None
    """The model to start from: the --out of a finished run, its name if it lies beside --out, or a folder with an
    exported model or a transformer of diffusers. The grid stage needs one."""

    steps: Annotated[int, tyro.conf.arg(help="Optimizer steps.")] = 1000
    batch_size: int = 8
    """Sequences or grids (grid stage) of one step on one worker."""
    views: int = 8
    """Views of a training grid, and frames of a freeze-time sequence."""
    times: int = 8
    """Times of a training grid, and frames of a fixed-view sequence."""
    workers: int = 2
    """Worker processes, one core or one GPU each."""
    gpu_share: float = 1.0
    """Part of a GPU that a worker takes, where there are any: with 0.25, four small runs share one."""
    seed: int = 0
    dry_run: bool = False
    """Check settings, data and room, print what would be trained, and start nothing."""

    mixture: MixtureSettings = field(default_factory=MixtureSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    diffusion: TimeSampling = field(default_factory=TimeSampling)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    guard: GuardSettings = field(default_factory=GuardSettings)
    restarts: RestartSettings = field(default_factory=RestartSettings)
    samples: SampleSettings = field(default_factory=SampleSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
