"""The options of all commands that score folders of generated grids: `evaluate` and `compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fourreal.evaluation.metrics import STANDARD
from fourreal.evaluation.networks import Device
from fourreal.evaluation.networks.feature_cache import default_folder
from fourreal.evaluation.pretrained import REGISTRY
from fourreal.evaluation.protocol import PROTOCOLS, Protocol
from fourreal.evaluation.scoring_job import ScoringJob
from fourreal.platform.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """By what grids are scored, and how surely."""

    metrics: tuple[str, ...] = STANDARD
    """Which metrics, by name; an unknown name lists them, `all` takes them all."""
    protocol: Literal["4real-video", "4real-video-v2"] | None = None
    """The metrics of a paper's table instead; `evaluate` prints its layout too, with the published rows beside."""
    weights: str | None = None
    """Folder or s3:// address of published weights (default: $FOURREAL_WEIGHTS, else ~/.cache/fourreal/weights)."""
    features: Path | None = None
    """Folder that keeps what networks said (default: $FOURREAL_FEATURES, else ~/.cache/fourreal/features)."""
    allow_few: bool = False
    """Give FID and FVD for fewer frames or videos than they need, marked in the table."""
    device: Device = "cpu"
    """Where the published networks run."""
    workers: int = 1
    """Processes that score, one core (or GPU) each; the scores do not depend on their number."""
    resamples: int = 1000
    """Sets of grids drawn for each confidence interval, ten times as many for each test of `compare`; 0 leaves the
    intervals of `evaluate` out."""
    seed: int = 0
    """Seed of those draws."""

    @property
    def table(self) -> Protocol | None:
        """The protocol that was asked for by its name."""
        return PROTOCOLS[self.protocol] if self.protocol else None

    def job(self, predictions: str, references: str) -> ScoringJob:
        """The scoring of one folder of predictions. Raises UserError for options that are wrong by themselves."""
        if self.workers < 1:
            raise UserError(f"--workers must be at least 1, not {self.workers}")
        if self.resamples < 0:
            raise UserError(f"--resamples must be 0 or more, not {self.resamples}")
        return ScoringJob(
            predictions,
            references,
            self.table.metrics if self.table else self.metrics,
            self.weights,
            self.device,
            self.allow_few,
            self.features or default_folder(),
            REGISTRY,
        )
