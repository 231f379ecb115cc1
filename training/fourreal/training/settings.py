"""What a person asks of `fourreal train`, and what follows from it for each stage, checked before any worker starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import tyro

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.data import BatchShape, Stage, check_folder
from fourreal.training.engine_deepspeed import ZeroStage
from fourreal.training.exports import read_exported_description
from fourreal.training.guard import GuardSettings
from fourreal.training.model import Architecture, PixelBackbone, PixelConfig, TrainPolicy, check_policy

_DEFAULT_MODEL: dict[str, Any] = {"size": "nano", "height": 32, "width": 48, "patch_size": 8}


@dataclass(frozen=True)
class Config:
    """Fit a model to folders of grid shards: the base video model, then the grid model on top of it, frozen.

    Killed at any moment, the same command goes on from the last checkpoint; finished, it does nothing.
    """

    data: tuple[str, ...]
    """Folders of shards, local or s3://; rendered and synthesized grids mix."""
    out: str
    """Where checkpoints, samples and the exported model (OUT/model) go; with both stages the base is in OUT/base."""
    stage: Literal["base", "grid", "both"] = "both"
    """What to fit: the base video model, the grid model on a finished base, or one after the other."""
    base: str | None = None
    """Folder of the exported base model that the grid stage starts from; only with --stage grid."""
    weights: tuple[float, ...] = ()
    """How often each folder of --data is drawn from, in proportion; default: by its number of grids."""

    size: str | None = None
    """Model size: nano, tiny, small, base or large (0.3 M to 600 M parameters); the grid stage has its base's."""
    height: int | None = None
    """Height of the frames in pixels; stored frames are cropped and resized."""
    width: int | None = None
    """Width of the frames in pixels."""
    patch_size: int | None = None
    """Side of a patch in pixels; must divide height and width."""
    views: int = 8
    """Views of a training grid, and frames of a freeze-time sequence."""
    times: int = 8
    """Times of a training grid, and frames of a fixed-view sequence."""
    architecture: Architecture = "soft"
    """How views and times meet: two streams (soft, hard), one stream in turns (sequential) or at once (fused)."""
    train: TrainPolicy | None = None
    """What the grid stage fits: sync-only, self-attention, lora or full; default: sync-only where the architecture
    has synchronization layers, else self-attention."""

    steps: Annotated[int, tyro.conf.arg(help="Optimizer steps of a stage.")] = 1000
    batch_size: int = 8
    """Sequences (base stage) or grids (grid stage) of one step on one worker."""
    lr: float = 2e-3
    """Highest learning rate; it warms up and then falls to nothing."""
    grid_steps: int | None = None
    """Steps of the grid stage when both are run; default: --steps."""
    grid_batch_size: int | None = None
    """Grids of one step on one worker when both stages are run; default: --batch-size."""

    workers: int = 2
    """Worker processes, one core or one GPU each."""
    engine: Literal["deepspeed", "torch"] = "deepspeed"
    """DeepSpeed, or plain torch for one worker."""
    zero_stage: ZeroStage = 2
    """What DeepSpeed splits among workers: 0 nothing, 1 optimizer, 2 also gradients, 3 also weights."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints that are kept, the newest ones; a damaged one is passed over for the one before it."""
    spike_factor: float = 100.0
    """A step whose loss or gradient norm is not finite, or this many times the median of the last 50, is skipped."""
    max_skips: int = 5
    """Steps skipped in a row before the run goes back to its last checkpoint and on with other data."""
    max_rollbacks: int = 3
    """How often that is done before the run stops."""
    grace_s: float = 30.0
    """Time for a last checkpoint after SIGTERM; the same command goes on from that step."""
    max_failures: int = 3
    """How often dead workers are replaced before the run is given up."""
    seed: int = 0


@dataclass(frozen=True)
class StageSettings:
    """One stage, complete: what a worker needs to know. Plain data, so it travels and compares."""

    shape: BatchShape
    model: PixelConfig
    folders: tuple[str, ...]
    weights: tuple[float, ...]
    out: str
    base: str | None
    architecture: Architecture
    train: TrainPolicy
    steps: int
    lr: float
    workers: int
    engine: Literal["deepspeed", "torch"]
    zero_stage: ZeroStage
    checkpoint_every: int
    keep_checkpoints: int
    guard: GuardSettings
    grace_s: float
    max_failures: int
    seed: int

    @property
    def stage(self) -> Stage:
        """Base or grid."""
        return self.shape.stage

    @property
    def storage(self) -> Storage:
        """The stage's output folder."""
        return Storage(self.out)

    def to_json(self) -> dict[str, Any]:
        """As plain data, with lists where tuples are."""
        document = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in document.items()}


def check(config: Config) -> None:
    """Everything that can be known before training. Raises UserError in one sentence."""
    for name in (
        "steps",
        "batch_size",
        "workers",
        "checkpoint_every",
        "keep_checkpoints",
        "max_skips",
        "views",
        "times",
        "grid_steps",
        "grid_batch_size",
    ):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} is {value}: give at least 1")
    if config.spike_factor <= 1:
        raise UserError(f"--spike-factor is {config.spike_factor}: give more than 1, 100 catches what runs away")
    if min(config.max_rollbacks, config.grace_s) < 0:
        raise UserError("--max-rollbacks and --grace-s must be 0 or more")
    if config.lr <= 0:
        raise UserError(f"--lr is {config.lr}: give a positive learning rate, 2e-3 for small models")
    if config.views * config.times == 1:
        raise UserError("--views 1 --times 1 leaves nothing to generate: give at least 2 of one of them")
    _check_stage(config)
    if config.engine == "torch" and config.workers != 1:
        raise UserError(
            f"--engine torch runs on one worker, not on {config.workers}: add --workers 1, or use deepspeed"
        )
    if not config.data:
        raise UserError("--data names no folder: give at least one folder of shards")
    if config.weights and len(config.weights) != len(config.data):
        raise UserError(
            f"--weights has {len(config.weights)} numbers for {len(config.data)} --data folders: give one for each"
        )
    if config.weights and (min(config.weights) < 0 or sum(config.weights) <= 0):
        raise UserError("--weights must be 0 or more, and not all 0")


def _check_stage(config: Config) -> None:
    if config.stage != "base" and min(config.views, config.times) == 1:
        raise UserError(
            f"--views {config.views} --times {config.times} leaves the grid stage nothing to synchronize: "
            f"give at least 2 of both, or --stage base"
        )
    if config.stage != "base":
        try:
            check_policy(train_policy(config), config.architecture)
        except ValueError as error:
            raise UserError(f"--train {config.train}: {error}") from None
    if config.stage == "grid" and config.base is None:
        raise UserError(
            "--stage grid needs --base FOLDER: the exported model of an earlier --stage base (its OUT/model)"
        )
    if config.stage != "grid" and config.base is not None:
        raise UserError(f"--base is for --stage grid; --stage {config.stage} makes its own: leave it out")


def stage_settings(config: Config, stage: Stage, out: str, base: str | None) -> StageSettings:
    """The settings of one stage. UserError when the data, the base model or the sizes do not fit each other."""
    model = _base_config(config) if stage == "base" else _grid_config(config, base)
    second = config.stage == "both" and stage == "grid"
    batch_size = (config.grid_batch_size if second else None) or config.batch_size
    counts = [
        sum(len(record.keys) for record in check_folder(folder, config.views, config.times, config.workers))
        for folder in config.data
    ]
    return StageSettings(
        shape=BatchShape(stage, batch_size, config.views, config.times, model.height, model.width),
        model=model,
        folders=config.data,
        weights=config.weights or tuple(float(count) for count in counts),
        out=out,
        base=base,
        architecture=config.architecture,
        train=train_policy(config),
        steps=(config.grid_steps if second else None) or config.steps,
        lr=config.lr,
        workers=config.workers,
        engine=config.engine,
        zero_stage=config.zero_stage,
        checkpoint_every=config.checkpoint_every,
        keep_checkpoints=config.keep_checkpoints,
        guard=GuardSettings(config.spike_factor, config.max_skips, config.max_rollbacks),
        grace_s=config.grace_s,
        max_failures=config.max_failures,
        seed=config.seed,
    )


def train_policy(config: Config) -> TrainPolicy:
    """What the grid stage fits, with the default filled in."""
    return config.train or ("sync-only" if config.architecture in ("soft", "hard") else "self-attention")


def _model_wishes(config: Config) -> dict[str, Any]:
    wishes = {name: getattr(config, name) for name in _DEFAULT_MODEL}
    return {name: value for name, value in wishes.items() if value is not None}


def _base_config(config: Config) -> PixelConfig:
    try:
        return PixelConfig.of_size(**{**_DEFAULT_MODEL, **_model_wishes(config)})
    except ValueError as error:
        raise UserError(str(error)) from None


def _grid_config(config: Config, base: str | None) -> PixelConfig:
    assert base is not None
    description = read_exported_description(base, "base")
    if description["backbone"] != PixelBackbone.name:
        raise UserError(
            f"{base} holds a {description['backbone']} backbone, fourreal train fits {PixelBackbone.name} ones: "
            f"name a base that fourreal train made"
        )
    model = PixelConfig.from_dict(description["model"])
    wishes = _model_wishes(config)
    sized = PixelConfig.of_size(wishes.pop("size")) if "size" in wishes else None
    wanted = {**wishes, **({"depth": sized.depth, "hidden_dim": sized.hidden_dim} if sized else {})}
    for name, value in wanted.items():
        if getattr(model, name) != value:
            raise UserError(
                f"the base model in {base} has {name} {getattr(model, name)}, the grid stage is asked for {value}: "
                f"leave --{'size' if name in ('depth', 'hidden_dim') else name.replace('_', '-')} out"
            )
    return replace(model)
