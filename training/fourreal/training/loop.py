"""The training loop of one worker. It knows neither Ray nor MLflow: what to do with a step is the hooks' business."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from fourreal.training import ranks
from fourreal.training.checkpoints import TrainState
from fourreal.training.data import Batch, BatchStream, DataPosition, Prefetcher
from fourreal.training.engine import Engine
from fourreal.training.model import Backbone, BackboneConfig, GridModel, PixelBackbone, merge_lora
from fourreal.training.model.flow import add_noise, sample_times, velocity_loss
from fourreal.training.order import Worker
from fourreal.training.settings.stage import StageSettings
from fourreal.training.stopping import Stopped

_WARMUP_STEPS = 50


@dataclass(frozen=True)
class StepReport:
    """What one step of one worker was like."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Mean over all workers."""
    gradient_norm: float
    taken: bool
    """Whether the guard let the optimizer learn from it."""
    learning_rate: float
    wait_s: float
    """Time spent waiting for data."""
    wall_s: float


@dataclass(frozen=True)
class Hooks:
    """What happens after a step, and when it is time for a checkpoint. All workers call all at the same steps."""

    on_step: Callable[[StepReport, TrainState], None]
    on_checkpoint: Callable[[TrainState], None]
    on_rollback: Callable[[TrainState], TrainState]
    """Puts weights, optimizer and noise back as they were at the last checkpoint; returns the state they were in."""
    stop_asked: Callable[[], bool] = lambda: False
    """Whether this worker has been asked to stop. One is enough: all stop after the same step."""


def train(
    settings: StageSettings, engine: Engine, worker: Worker, noise: torch.Generator, start: TrainState, hooks: Hooks
) -> TrainState:
    """Train from `start` to the last step, or to the one at which a worker was asked to stop.

    Checkpoints fall on multiples of `checkpoints.every` and on the last step. A step counts, and its batch is behind,
    whether it was taken or skipped. Stopped when rolling back has not helped.
    """
    device = next(engine.model.parameters()).device
    stream = batch_stream(settings, worker, start.position)
    state = start
    batches = Prefetcher(stream)
    try:
        while state.step < settings.steps:
            step, losses, guard = state.step, state.losses, state.guard
            began = time.perf_counter()
            batch, position = batches.next()
            wait_s = time.perf_counter() - began
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = batch_loss(engine.model, settings.model, batch, noise, device)
            engine.backward(loss)
            rate = learning_rate(step, settings.steps, settings.optimizer.lr)
            mean_loss, stop = ranks.mean(loss.item(), float(hooks.stop_asked()))
            limit = guard.norm_limit(mean_loss)
            norm = engine.step(rate, limit)
            guard.add(taken := norm < limit, mean_loss, norm)
            if taken:
                losses.add(mean_loss)
            state = TrainState(step + 1, position, losses, guard)
            wall_s = time.perf_counter() - began
            hooks.on_step(StepReport(step + 1, mean_loss, norm, taken, rate, wait_s, wall_s), state)
            if guard.wants_rollback:
                state = _rolled_back(state, hooks)
            elif stop or state.step % settings.checkpoints.every == 0 or state.step == settings.steps:
                hooks.on_checkpoint(state)
            if stop:
                break
    finally:
        batches.close()
    return state


def _rolled_back(state: TrainState, hooks: Hooks) -> TrainState:
    """The last checkpoint's state, with the batches since then left behind."""
    guard = state.guard
    if guard.rollbacks == guard.settings.max_rollbacks:
        raise Stopped(
            f"{guard.in_a_row} steps in a row up to step {state.step} had a loss or gradient that is not finite or far "
            f"above the recent ones, also after {guard.rollbacks} rollbacks: look at the data, or start with a lower "
            f"--optimizer.lr in another --out"
        )
    before = hooks.on_rollback(state)
    counts = replace(before.guard, skipped=guard.skipped, rollbacks=guard.rollbacks + 1, in_a_row=0)
    return TrainState(before.step, state.position, before.losses, counts)


def batch_loss(
    model: torch.nn.Module, config: BackboneConfig, batch: Batch, noise: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Velocity loss of a batch at random diffusion times; a scalar.

    Times and noise are drawn on the CPU, so that every device sees the same ones.
    """
    time_ = sample_times(len(batch.frames), noise).to(device)
    clean, given = batch.frames.to(device), batch.given.to(device)
    eps = torch.randn(clean.shape, generator=noise).to(device)
    inputs = (add_noise(clean, eps, time_, given), time_, given)
    prediction = model(*inputs) if batch.context is None else model(*inputs, batch.context.to(device))
    return velocity_loss(prediction.float(), clean, eps, time_, given, config=config)


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    warmup = min(_WARMUP_STEPS, max(1, steps // 10))
    if step < warmup:
        return highest * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return highest * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def build_model(settings: StageSettings, base: Backbone | None) -> Backbone | GridModel:
    """The stage's model at its start; equal on every worker. The grid stage starts from the exported base."""
    torch.manual_seed(settings.seed)
    if settings.stage == "base":
        return PixelBackbone(settings.model)
    assert base is not None
    model = GridModel(base, settings.architecture)
    model.trainable_parameters(settings.train)
    return model.train()


def finished_model(settings: StageSettings, weights: dict[str, torch.Tensor]) -> Backbone | GridModel:
    """The stage's model with the weights that an engine ended with, as it is exported, in evaluation mode."""
    model = build_model(settings, PixelBackbone(settings.model) if settings.stage == "grid" else None)
    model.load_state_dict(weights)
    merge_lora(model)
    return model.eval()


def batch_stream(settings: StageSettings, worker: Worker, position: DataPosition | None) -> BatchStream:
    """The worker's batches from a position on."""
    return BatchStream(
        settings.folders, settings.weights, settings.shape, settings.seed, worker=worker, position=position
    )
