"""The loss on held-out grids: the same samples, diffusion times and noise every time, so that its changes are the
model's."""

from __future__ import annotations

import math
from collections import defaultdict

import torch

from fourreal.training.data.batches import BatchStream, DataSettings
from fourreal.training.engine.base import Engine
from fourreal.training.fit.breakdown import TIME_INTERVALS, time_interval
from fourreal.training.fit.objective import Objective
from fourreal.training.workers import ranks
from fourreal.training.workers.ranks import Worker


class Validation:
    """This worker's share of `samples` samples, kept in memory once they are read. All workers call its methods."""

    def __init__(self, data: DataSettings, samples: int, objective: Objective, worker: Worker) -> None:
        self._objective, self._worker = objective, worker
        stream = BatchStream(data, worker=worker)
        rounds = math.ceil(samples / (data.buckets[0].batch_size * worker.world))
        self._batches = [stream.next() for _ in range(rounds)]

    @torch.no_grad()
    def losses(self, engine: Engine, device: torch.device) -> dict[str, float]:
        """By metric name, the same on all workers: `validation_loss`, and `validation_loss_at_time/...`."""
        sums: dict[str, float] = defaultdict(float)
        counts: dict[str, float] = defaultdict(float)
        for number, batch in enumerate(self._batches):
            generator = torch.Generator().manual_seed(number * self._worker.world + self._worker.rank)
            drawn = self._objective.draw(batch, generator, device)
            error = self._objective.error(engine.forward, {name: part.to(device) for name, part in drawn.items()})
            unknown = (~drawn["given"]).flatten(1).sum(dim=1).clamp_min(1)
            losses = error.flatten(1).sum(dim=1).cpu() / unknown
            for time, loss in zip(drawn["time"].tolist(), losses.tolist(), strict=True):
                for name in ("", time_interval(time)):
                    sums[name] += loss
                    counts[name] += 1
        names = ("", *TIME_INTERVALS)
        means = ranks.mean(*(sums[name] for name in names), *(counts[name] for name in names))
        total = {name: (means[i], means[len(names) + i]) for i, name in enumerate(names)}
        return {
            f"validation_loss_at_time/{name}" if name else "validation_loss": loss / count
            for name, (loss, count) in total.items()
            if count
        }
