"""What can be known to be wrong with a configuration before anything is read."""

from __future__ import annotations

from fourreal.platform.errors import UserError
from fourreal.training.model import TrainPolicy, check_policy
from fourreal.training.settings.config import Config


def check(config: Config) -> None:
    """Raises UserError, in one sentence, for values that are wrong by themselves or contradict each other."""
    _check_counts(config)
    if config.guard.spike_factor <= 1:
        raise UserError(
            f"--guard.spike-factor is {config.guard.spike_factor}: give more than 1, 100 catches what runs away"
        )
    if config.optimizer.lr <= 0:
        raise UserError(
            f"--optimizer.lr is {config.optimizer.lr}: give a positive learning rate, 2e-3 for small models"
        )
    if config.engine.kind == "torch" and config.workers != 1:
        raise UserError(
            f"--engine.kind torch runs on one worker, not on {config.workers}: add --workers 1, or use deepspeed"
        )
    _check_data(config)
    _check_stage(config)


def train_policy(config: Config) -> TrainPolicy:
    """What the grid stage fits, with the default filled in."""
    return config.model.train or ("sync-only" if config.model.architecture in ("soft", "hard") else "self-attention")


def _check_counts(config: Config) -> None:
    counts = {
        "steps": config.steps,
        "batch-size": config.batch_size,
        "views": config.views,
        "times": config.times,
        "workers": config.workers,
        "checkpoints.every": config.checkpoints.every,
        "checkpoints.keep": config.checkpoints.keep,
        "guard.max-skips": config.guard.max_skips,
    }
    for name, count in counts.items():
        if count < 1:
            raise UserError(f"--{name} is {count}: give at least 1")
    if min(config.guard.max_rollbacks, config.restarts.grace_s) < 0:
        raise UserError("--guard.max-rollbacks and --restarts.grace-s must be 0 or more")
    if config.checkpoints.keep_every % config.checkpoints.every:
        raise UserError(
            f"--checkpoints.keep-every {config.checkpoints.keep_every} is no multiple of --checkpoints.every "
            f"{config.checkpoints.every}: give one, or 0 to keep only the newest ones"
        )


def _check_data(config: Config) -> None:
    weights = config.mixture.weights
    if not config.data:
        raise UserError("--data names no folder: give at least one folder of shards")
    if weights and len(weights) != len(config.data):
        raise UserError(
            f"--mixture.weights has {len(weights)} numbers for {len(config.data)} --data folders: give one for each"
        )
    if weights and (min(weights) < 0 or sum(weights) <= 0):
        raise UserError("--mixture.weights must be 0 or more, and not all 0")


def _check_stage(config: Config) -> None:
    if config.views * config.times == 1:
        raise UserError("--views 1 --times 1 leaves nothing to generate: give at least 2 of one of them")
    if config.stage == "base":
        if config.start_from is not None:
            raise UserError("--start-from is for --stage grid: the base stage makes its own model, leave it out")
        return
    if min(config.views, config.times) == 1:
        raise UserError(
            f"--views {config.views} --times {config.times} leaves the grid stage nothing to synchronize: "
            f"give at least 2 of both, or --stage base"
        )
    try:
        check_policy(train_policy(config), config.model.architecture)
    except ValueError as error:
        raise UserError(f"--model.train {config.model.train}: {error}") from None
    if config.start_from is None:
        raise UserError("--stage grid needs --start-from RUN_OR_FOLDER: the --out of an earlier --stage base")
