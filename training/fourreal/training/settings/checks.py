"""What can be known to be wrong with a configuration before anything is read."""

from __future__ import annotations

from fourreal.platform.errors import UserError
from fourreal.platform.runtime import check_gpu_share
from fourreal.training.model import Architecture, TrainPolicy, check_policy
from fourreal.training.settings.config import Config
from fourreal.training.settings.groups import OptimizerSettings


def check(config: Config) -> None:
    """Raises UserError, in one sentence, for values that are wrong by themselves or contradict each other."""
    _check_counts(config)
    if config.guard.spike_factor <= 1:
        raise UserError(
            f"--guard.spike-factor is {config.guard.spike_factor}: give more than 1, 100 catches what runs away"
        )
    _check_optimizer(config.optimizer)
    _check_engine(config)
    _check_data(config)
    _check_stage(config)


def check_train(train: TrainPolicy, architecture: Architecture) -> None:
    """UserError for a policy that leaves an architecture nothing to train."""
    try:
        check_policy(train, architecture)
    except ValueError as error:
        raise UserError(f"--model.train {train}: {error}") from None


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
        "validation.samples": config.validation.samples,
        "engine.micro-batches": config.engine.micro_batches,
        "model.lora-rank": config.model.lora_rank,
        "mixture.strands": config.mixture.strands,
        "loader.threads": config.loader.threads,
        "loader.ahead": config.loader.ahead,
        "loader.fetch-ahead": config.loader.fetch_ahead,
        "model.upscale": config.model.upscale,
    }
    for name, count in counts.items():
        if count < 1:
            raise UserError(f"--{name} is {count}: give at least 1")
    check_gpu_share(config.gpu_share)
    if min(config.guard.max_rollbacks, config.restarts.grace_s) < 0:
        raise UserError("--guard.max-rollbacks and --restarts.grace-s must be 0 or more")
    if config.restarts.hang_timeout_s <= 0:
        raise UserError(f"--restarts.hang-timeout-s is {config.restarts.hang_timeout_s}: give more than 0")
    if config.checkpoints.keep_every % config.checkpoints.every:
        raise UserError(
            f"--checkpoints.keep-every {config.checkpoints.keep_every} is no multiple of --checkpoints.every "
            f"{config.checkpoints.every}: give one, or 0 to keep only the newest ones"
        )


def _check_optimizer(optimizer: OptimizerSettings) -> None:
    if optimizer.lr <= 0:
        raise UserError(f"--optimizer.lr is {optimizer.lr}: give a positive learning rate, 2e-3 for small models")
    for name, decay in (
        ("betas", max(optimizer.betas)),
        ("betas", min(optimizer.betas)),
        ("ema-decay", optimizer.ema_decay),
    ):
        if not 0 <= decay < 1:
            raise UserError(f"--optimizer.{name} is {decay}: give a decay from 0 to below 1")
    least = min(optimizer.warmup_steps or 0, optimizer.weight_decay, optimizer.clip_norm)
    if least < 0 or optimizer.eps <= 0:
        raise UserError("--optimizer.warmup-steps, weight-decay and clip-norm must be 0 or more, and eps above 0")


def _check_engine(config: Config) -> None:
    engine = config.engine
    if engine.kind == "torch" and config.workers != 1:
        raise UserError(
            f"--engine.kind torch runs on one worker, not on {config.workers}: add --workers 1, or use deepspeed"
        )
    if config.batch_size % engine.micro_batches:
        raise UserError(
            f"--batch-size {config.batch_size} does not split into --engine.micro-batches {engine.micro_batches} "
            f"equal parts: use a divisor"
        )
    offloaded = {"optimizer": engine.offload_optimizer, "weights": engine.offload_weights}
    for name, place in offloaded.items():
        if place == "none":
            continue
        needed = 3 if name == "weights" else 1
        if engine.kind == "torch" or engine.zero_stage < needed:
            raise UserError(
                f"--engine.offload-{name} {place} needs --engine.kind deepspeed and --engine.zero-stage {needed}"
                f"{'' if needed == 3 else ' or more'}"
            )
        if place == "nvme" and (engine.nvme_folder is None or engine.zero_stage != 3):
            raise UserError(
                f"--engine.offload-{name} nvme needs --engine.nvme-folder, on a fast local disk, and zero-stage 3"
            )
    if engine.offload_optimizer == "nvme" and config.optimizer.ema_decay:
        raise UserError(
            "--optimizer.ema-decay keeps a mean that --engine.offload-optimizer nvme cannot move: offload to cpu"
        )


def _check_data(config: Config) -> None:
    mixture, augment, loader = config.mixture, config.augment, config.loader
    if not config.data:
        raise UserError("--data names no folder: give at least one folder of shards")
    for name, numbers in (("weights", mixture.weights), ("condition-drop", mixture.condition_drop)):
        if numbers and len(numbers) != len(config.data):
            raise UserError(
                f"--mixture.{name} has {len(numbers)} numbers for {len(config.data)} --data folders: give one for each"
            )
    if mixture.weights and (min(mixture.weights) < 0 or sum(mixture.weights) <= 0):
        raise UserError("--mixture.weights must be 0 or more, and not all 0")
    probabilities = {
        "mixture.condition-drop": mixture.condition_drop,
        "mixture.static-condition-drop": (mixture.static_condition_drop,),
        "mixture.caption-drop": (mixture.caption_drop,),
        "mixture.first-frame-alone": (mixture.first_frame_alone,),
        "mixture.both-ends": (mixture.both_ends,),
        "augment.mirror": (augment.mirror,),
        "augment.reverse-views": (augment.reverse_views,),
    }
    for name, numbers in probabilities.items():
        if not all(0 <= number <= 1 for number in numbers):
            raise UserError(f"--{name} is {' '.join(map(str, numbers))}: give a probability, from 0 to 1")
    if mixture.first_frame_alone + mixture.both_ends > 1:
        raise UserError(
            f"--mixture.first-frame-alone {mixture.first_frame_alone} and --mixture.both-ends {mixture.both_ends} are "
            f"parts of the samples: together they may be 1 at most"
        )
    if not loader.cache_gb > 0:
        raise UserError(f"--loader.cache-gb is {loader.cache_gb}: give room for some shards, 50 for instance")


def _check_stage(config: Config) -> None:
    if config.views * config.times == 1:
        raise UserError("--views 1 --times 1 leaves nothing to generate: give at least 2 of one of them")
    if config.stage != "grid":
        return
    if min(config.views, config.times) == 1:
        raise UserError(
            f"--views {config.views} --times {config.times} leaves the grid stage nothing to synchronize: "
            f"give at least 2 of both, or --stage base"
        )
    if config.model.train and config.model.architecture:
        check_train(config.model.train, config.model.architecture)
    if config.start_from is None:
        raise UserError("--stage grid needs --start-from RUN_OR_FOLDER: the --out of an earlier --stage base")
