"""Which grid comes when: a deterministic order for every worker, and a position in it that fits in a checkpoint.

Every epoch, the shards are shuffled and their grids laid out in shard order; each worker takes one contiguous part.
So the workers together see every grid exactly once an epoch, and none reads more than its own shards and the two at
its part's ends. Within its part, a worker shuffles the grids of a few neighbouring shards (a window) among themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fourreal.platform.codec import EncodedGrid

WINDOW_SHARDS = 4
"""Shards that a worker holds in memory at once; more mixes better and costs their size in bytes."""


@dataclass(frozen=True)
class Position:
    """A place in a worker's endless order: the epoch, and how many grids of it are behind."""

    epoch: int = 0
    index: int = 0


@dataclass(frozen=True)
class Worker:
    """One of `world` equal workers."""

    rank: int
    world: int


def epoch_order(shard_keys: Sequence[Sequence[str]], seed: int, epoch: int, worker: Worker) -> list[tuple[int, str]]:
    """A worker's grids of one epoch in order, as (shard, key).

    The parts of all workers are disjoint, differ in length by at most one and cover everything.
    """
    shards = np.random.default_rng([seed, epoch]).permutation(len(shard_keys))
    everything = [(int(shard), key) for shard in shards for key in shard_keys[shard]]
    bounds = [len(everything) * rank // worker.world for rank in (worker.rank, worker.rank + 1)]
    part = everything[bounds[0] : bounds[1]]
    rng = np.random.default_rng([seed, epoch, worker.rank])
    order: list[tuple[int, str]] = []
    for window in _windows(part):
        order += [window[i] for i in rng.permutation(len(window))]
    return order


def _windows(part: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    window: list[tuple[int, str]] = []
    shards: set[int] = set()
    for entry in part:
        if len(shards | {entry[0]}) > WINDOW_SHARDS:
            yield window
            window, shards = [], set()
        window.append(entry)
        shards.add(entry[0])
    if window:
        yield window


class GridStream:
    """A worker's endless stream of encoded grids from one folder of shards, from any position on.

    `read` returns all grids of a shard by its number; the last `WINDOW_SHARDS` shards are kept.
    """

    def __init__(
        self,
        shard_keys: Sequence[Sequence[str]],
        read: Callable[[int], Iterator[EncodedGrid]],
        seed: int,
        worker: Worker,
        position: Position,
    ) -> None:
        assert sum(map(len, shard_keys)) >= worker.world, "a worker without a grid would wait for ever"
        self.shard_keys, self.read, self.seed, self.worker = shard_keys, read, seed, worker
        self.position = position
        self._order = epoch_order(shard_keys, seed, position.epoch, worker)
        self._shards: OrderedDict[int, dict[str, EncodedGrid]] = OrderedDict()

    def next(self) -> EncodedGrid:
        """The grid at the position, which moves on."""
        if self.position.index == len(self._order):
            self.position = Position(self.position.epoch + 1, 0)
            self._order = epoch_order(self.shard_keys, self.seed, self.position.epoch, self.worker)
        shard, key = self._order[self.position.index]
        self.position = Position(self.position.epoch, self.position.index + 1)
        return self._grids_of(shard)[key]

    def _grids_of(self, shard: int) -> dict[str, EncodedGrid]:
        if shard in self._shards:
            self._shards.move_to_end(shard)
        else:
            if len(self._shards) == WINDOW_SHARDS:
                self._shards.popitem(last=False)
            self._shards[shard] = {grid.key: grid for grid in self.read(shard)}
        return self._shards[shard]
