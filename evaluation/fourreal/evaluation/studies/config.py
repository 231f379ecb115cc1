"""The options of `fourreal study`, and its sizes as recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fourreal.evaluation.metrics import SampleMetric, choose_metrics
from fourreal.evaluation.networks import Device
from fourreal.evaluation.studies.arms import ARMS
from fourreal.evaluation.studies.bars import Size
from fourreal.platform.errors import UserError


@dataclass(frozen=True)
class DataSettings:
    """What is trained on, and what is tested on."""

    train_assets: int = 320
    """Procedural assets that are trained on."""
    grids_per_asset: int = 4
    """Grids of each of them, with cameras and background of their own."""
    videos: int = 96
    """Videos that are drawn where --videos names none."""
    clips_per_video: int = 8
    """Pseudo-4D grids of each video, at most."""
    held_out_assets: int = 48
    """Procedural assets that are tested on, a grid each."""
    real_grids_per_asset: int = 8
    """Test grids of each asset of --assets."""
    arc_degrees: tuple[float, float] = (5.0, 20.0)
    """Width of the arc of views of rendered grids, in training and in tests."""
    fps: float = 16.0
    """Moments a second of rendered grids, likewise."""
    rendered_share: float = 0.75
    """Part of the samples that is rendered, where an arm sees both."""


@dataclass(frozen=True)
class FitSettings:
    """How models are trained: the same for every arm."""

    size: str = "nano"
    """Size of the model (see `fourreal train --model.size`)."""
    patch_size: int = 4
    """Side of a patch, pixels."""
    prediction: Literal["clean", "velocity", "residual"] = "residual"
    """What models put out. With residual, every new model is the blend or average that it is compared with, and only
    what it learns makes it better."""
    references: bool = True
    """Whether the tokens of frames to be made have the given frames' patches added, as 4Real-Video-V2's have."""
    refinement: int = 24
    """Channels of the convolutions that mend predicted frames by the given ones (see `fourreal train`)."""
    base_steps: int = 1500
    """Steps of the base video model, which all arms share."""
    first_frame_alone: float = 0.25
    """Part of the base model's samples that are given their first frame alone."""
    both_ends: float = 0.5
    """Part that is given both ends, as when it is judged; the rest is given any of their frames."""
    base_batch_size: int = 16
    base_lr: float = 3e-3
    grid_steps: int = 500
    """Steps of each arm."""
    grid_batch_size: int = 8
    grid_lr: float = 3e-3
    ema_decay: float = 0.99
    """Of the running mean of the weights, which is what is judged."""
    weight: Literal["velocity", "clean", "log"] = "log"
    """What error the loss counts (see `fourreal train --diffusion.weight`). The velocity's is dominated by small times,
    so that what one step makes of noise hardly counts; the clean frames', by samples of which little is given."""
    pure_noise: float = 0.5
    """Part of the samples whose diffusion time is exactly 1."""
    workers: int = 1
    """Workers of one training run."""
    parallel: int = 2
    """Training runs at a time, and sets of grids that are generated and scored: on cores, two of one worker are faster
    than one of two. On fewer GPUs than that they share them."""
    engine: Literal["deepspeed", "torch"] = "torch"
    checkpoints_every: int = 100
    """Steps between checkpoints, and between points of the validation curve."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Does two-stream synchronization do what the papers say? Train every architecture alike, and measure them.

    Makes its data, trains a base video model once, then every arm with every seed, generates, scores, and writes
    tables and pictures. Killed at any moment, the same command goes on: what is finished is not done again.
    """

    out: Path
    """Local folder for everything."""
    assets: str | None = None
    """Folder of animated assets that are tested on and never trained on; none: procedural tests alone."""
    videos: str | None = None
    """Folder of videos to synthesize pseudo-4D grids from; none: videos are drawn."""
    arms: tuple[str, ...] = tuple(ARMS)
    """What is trained."""
    seeds: int = 3
    """Seeds of each arm: of its batches, its noise, and what it generates from."""
    views: int = 4
    times: int = 4
    height: int = 24
    width: int = 24
    sampling_steps: tuple[int, ...] = (1, 4, 16)
    """Steps of the sampler at which every arm is judged."""
    metrics: tuple[str, ...] = (
        "psnr", "psnr_foreground", "ssim", "ssim_foreground", "sharpness", "sharpness_foreground",
        "lpips", "flicker", "tsed", "epipolar_inliers",
    )  # fmt: skip
    """Metrics of every generated grid; those that lack weights are unavailable, with the reason in the table."""
    weights: str | None = None
    """Folder of published weights, for the metrics that read some (see `fourreal weights`)."""
    reconstruction_grids: int = 3
    """Grids of each test set that are also reconstructed as a 3D scene, which takes its time; first seed alone."""
    reconstruction_steps: int = 4
    """Sampling steps of the grids that are reconstructed."""
    allow_weak_base: bool = False
    """Go on although the base video model does not beat a linear blend of the given frames."""
    resamples: int = 10_000
    """Sets of sources drawn for each confidence interval, and ten times as many exchanges for each test: with too few
    for the number of tests, Holm's correction can decide nothing."""
    device: Device = "cpu"
    """Where grids are generated, and where published networks run. Training takes what GPUs there are."""
    bar: Size = "cpu"
    """What the report holds the main arm against."""
    dry_run: bool = False
    """Check settings, say what is finished and what is left, and do nothing."""
    seed: int = 0
    """Of data, base model and bootstrap."""
    data: DataSettings = field(default_factory=DataSettings)
    fit: FitSettings = field(default_factory=FitSettings)

    NOT_DECIDING = frozenset(
        {
            "allow_weak_base", "arms", "bar", "device", "dry_run", "seeds", "reconstruction_grids", "resamples",
            "weights", "fit.parallel",
        }
    )  # fmt: skip
    """Fields that may change from one run on the same output to the next: they decide nothing of what is there (a
    device decides roundings)."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.arms if name not in ARMS]:
            raise UserError(f"--arms names {unknown[0]!r}: choose from {', '.join(ARMS)}")
        if not self.arms:
            raise UserError(f"--arms names none: choose from {', '.join(ARMS)}")
        counts = {
            "seeds": self.seeds,
            "resamples": self.resamples,
            "data.train-assets": self.data.train_assets,
            "data.held-out-assets": self.data.held_out_assets,
            "fit.parallel": self.fit.parallel,
            "sampling-steps": min(self.sampling_steps, default=0),
        }
        for name, count in counts.items():
            if count < 1:
                raise UserError(f"--{name} must be at least 1, not {count}")
        if min(self.views, self.times) < 3:
            raise UserError("--views and --times must be at least 3: the base model is judged at frames between two")
        if self.reconstruction_grids and self.reconstruction_steps not in self.sampling_steps:
            raise UserError(
                f"--reconstruction-steps {self.reconstruction_steps} is not among --sampling-steps: name one of them"
            )
        for metric in choose_metrics(self.metrics):
            if not isinstance(metric, SampleMetric):
                raise UserError(f"--metrics has {metric.name}, one value for a whole set: the study pairs grid by grid")


def cpu() -> dict[str, Any]:
    """Two to three hours on two cores: the defaults."""
    return {}


def gpu() -> dict[str, Any]:
    """For one H100 or H200: larger frames, grids, moves and models. Run in part (evaluation/README.md)."""
    return {
        "views": 8, "times": 8, "height": 48, "width": 48, "device": "cuda", "bar": "gpu",
        "data": {
            "train_assets": 480, "grids_per_asset": 2, "clips_per_video": 4, "held_out_assets": 40,
            "real_grids_per_asset": 6, "arc_degrees": (10.0, 45.0), "fps": 8.0,
        },
        "fit": {
            "size": "tiny", "patch_size": 8, "base_steps": 600, "base_batch_size": 64, "base_lr": 1e-3,
            "grid_steps": 500, "grid_batch_size": 16, "grid_lr": 1e-3, "ema_decay": 0.995, "parallel": 16,
            "checkpoints_every": 200,
        },
    }  # fmt: skip


def quick() -> dict[str, Any]:
    """A few minutes: every stage once, and far too short to learn anything."""
    return {
        "seeds": 1, "arms": ("sequential", "soft", "regression"), "views": 3, "times": 3, "height": 24, "width": 24,
        "sampling_steps": (1, 2), "reconstruction_grids": 1, "reconstruction_steps": 2, "allow_weak_base": True,
        "resamples": 1000,
        "data": {
            "train_assets": 6, "grids_per_asset": 1, "videos": 3, "clips_per_video": 2, "held_out_assets": 5,
            "real_grids_per_asset": 1,
        },
        "fit": {
            "patch_size": 8, "base_steps": 20, "base_batch_size": 4, "grid_steps": 10, "grid_batch_size": 2,
            "checkpoints_every": 10,
        },
    }  # fmt: skip


RECIPES: Mapping[str, Callable[[], Mapping[str, Any]]] = {"cpu": cpu, "gpu": gpu, "quick": quick}
