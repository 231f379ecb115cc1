"""The training loop of one worker. It knows neither Ray nor MLflow: what to do with a step is the hooks' business."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from fourreal.training.data.batches import BatchStream, DataPosition, Prefetcher
from fourreal.training.engine.base import Engine, StepNorms
from fourreal.training.engine.optimizer import learning_rate
from fourreal.training.fit.objective import BatchLoss, accumulate, objective_of
from fourreal.training.fit.train_state import TrainState
from fourreal.training.stage.settings import StageSettings
from fourreal.training.workers import ranks
from fourreal.training.workers.ranks import Worker
from fourreal.training.workers.stopping import Stopped


@dataclass(frozen=True)
class StepReport:
    """What one step of one worker was like."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Mean over all workers."""
    batch: BatchLoss
    """This worker's own, sample by sample."""
    norms: StepNorms
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
    mark: Callable[[int, str], None] = lambda step, doing: None
    """Told what the loop does next, after how many steps: see `Watchdog.mark`."""


def train(
    settings: StageSettings, engine: Engine, worker: Worker, noise: torch.Generator, start: TrainState, hooks: Hooks
) -> TrainState:
    """Train from `start` to the last step, or to the one at which a worker was asked to stop.

    Checkpoints fall on multiples of `checkpoints.every` and on the last step. A step counts, and its batch is behind,
    whether it was taken or skipped. Stopped when rolling back has not helped.
    """
    device = next(engine.model.parameters()).device
    objective = objective_of(engine.model, settings.diffusion)
    stream = batch_stream(settings, worker, start.position)
    state = start
    batches = Prefetcher(stream)
    try:
        while state.step < settings.steps:
            step, losses, guard = state.step, state.losses, state.guard
            began = time.perf_counter()
            hooks.mark(step, "waiting for data")
            batch, position = batches.next()
            wait_s = time.perf_counter() - began
            hooks.mark(step, "computing the gradient")
            loss = accumulate(engine, objective, batch, noise, settings.engine.micro_batches, device)
            hooks.mark(step, "agreeing on the step")
            rate = learning_rate(step, settings.steps, settings.optimizer)
            mean_loss, stop = ranks.mean(loss.mean, float(hooks.stop_asked()))
            limit = guard.norm_limit(mean_loss)
            norms = engine.step(rate, limit)
            guard.add(taken := norms.gradient < limit, mean_loss, norms.gradient)
            if taken:
                losses.add(mean_loss)
            state = TrainState(step + 1, position, losses, guard)
            wall_s = time.perf_counter() - began
            hooks.mark(step + 1, "reporting, or saving")
            hooks.on_step(StepReport(step + 1, mean_loss, loss, norms, taken, rate, wait_s, wall_s), state)
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


def batch_stream(settings: StageSettings, worker: Worker, position: DataPosition | None) -> BatchStream:
    """The worker's batches from a position on."""
    return BatchStream(settings.data, worker=worker, position=position)
