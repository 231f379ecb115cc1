"""The fields of `fourreal train` by group, `--GROUP.FIELD` on the command line. Plain data: it travels and compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fourreal.training.model import Architecture, TrainPolicy

ZeroStage = Literal[0, 1, 2, 3]


@dataclass(frozen=True)
class MixtureSettings:
    """How folders of data mix."""

    weights: tuple[float, ...] = ()
    """How often each folder of --data is drawn from, in proportion; default: by its number of grids."""


@dataclass(frozen=True)
class ModelSettings:
    """The model. A stage that starts from another's model has that model's size."""

    size: str | None = None
    """nano, tiny, small, base or large (0.3 M to 600 M parameters); default: nano."""
    height: int | None = None
    """Height of the frames in pixels; stored frames are cropped and resized. Default: 32."""
    width: int | None = None
    """Width of the frames in pixels. Default: 48."""
    patch_size: int | None = None
    """Side of a patch in pixels; must divide height and width. Default: 8."""
    architecture: Architecture = "soft"
    """How views and times meet: two streams (soft, hard), one stream in turns (sequential) or at once (fused)."""
    train: TrainPolicy | None = None
    """What the grid stage fits: sync-only, self-attention, lora or full; default: sync-only where the architecture
    has synchronization layers, else self-attention."""


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its learning rate over time."""

    lr: float = 2e-3
    """Highest learning rate; it warms up and then falls to nothing."""


@dataclass(frozen=True)
class EngineSettings:
    """What computes the steps."""

    kind: Literal["deepspeed", "torch"] = "deepspeed"
    """DeepSpeed, or plain torch for one worker."""
    zero_stage: ZeroStage = 2
    """What DeepSpeed splits among workers: 0 nothing, 1 optimizer, 2 also gradients, 3 also weights."""


@dataclass(frozen=True)
class CheckpointSettings:
    """When the state is saved, and what is kept of it."""

    every: int = 200
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints that are kept, the newest ones; a damaged one is passed over for the one before it."""
    keep_every: int = 0
    """Besides these, the checkpoints at multiples of so many steps are kept for ever; 0: none."""


@dataclass(frozen=True)
class GuardSettings:
    """When a step is skipped, when skipping is not enough, and when to give up."""

    spike_factor: float = 100.0
    """A step whose loss or gradient norm is not finite, or this many times the median of the last 50, is skipped."""
    max_skips: int = 5
    """Steps skipped in a row before the run goes back to its last checkpoint and on with other data."""
    max_rollbacks: int = 3
    """How often that is done before the run stops."""


@dataclass(frozen=True)
class RestartSettings:
    """How a run ends early, and how often it starts again by itself."""

    grace_s: float = 30.0
    """Time for a last checkpoint after SIGTERM; the same command goes on from that step."""
    max_failures: int = 3
    """How often dead workers are replaced before the run is given up."""
