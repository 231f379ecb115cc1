"""Which sample comes when: one global order, a function of the seed and a number alone, whatever the number of workers.

A run draws *samples* from *sources* (folders of shards). Two functions, neither of which keeps state, say which:

* `Mixture`: the n-th draw is of which source, and its how many-th.
* `EpochOrder`: the i-th sample of a source is which grid. Every epoch holds each grid once.

A batch is a stretch of draws, and worker r of w makes those with n mod w = r: so a run goes on with the same batches on
any number of workers. Reading stays local all the same, because everything comes in *strands*: an epoch's shards are
shuffled and put end to end, the line is cut into as many equal parts as there are strands, and samples are taken from
them in turn; a mixture draws as often of a source in each strand. So draw n is of strand n mod `strands`, as many
shards mix at a time, each is read in one stretch, and a worker reads its own strands only: its share of the shards
where the strands are a multiple of the workers, and w / gcd(w, strands) times that share where not. More strands mix
better and hold more shards open.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

_BLOCK_ROWS = 64
"""Rows (a draw of every strand) in which the proportions of a mixture are exact, to within one."""


class Mixture:
    """An endless sequence of members, in proportion to weights and in random order. `seed` tells sequences apart."""

    def __init__(self, weights: Sequence[float], seed: Sequence[int], strands: int = 1) -> None:
        assert min(weights) >= 0 < sum(weights)
        self._bounds = np.concatenate([[0.0], np.cumsum(weights) / sum(weights)])
        self._bounds[-1] = 1.0  # against rounding
        self._seed, self._strands = tuple(seed), strands
        self._block = lru_cache(maxsize=2)(self._make_block)

    def place(self, draw: int) -> tuple[int, int]:
        """Member of a draw, and which of its own draws this is: of the same strand, none of them twice."""
        row, strand = divmod(draw, self._strands)
        block, row = divmod(row, _BLOCK_ROWS)
        members, rows = self._block(block)
        return int(members[row, strand]), int(rows[row, strand]) * self._strands + strand

    def _rows_before(self, block: int) -> Indices:
        """Rows that each member has had before a block."""
        return np.diff(np.floor(block * _BLOCK_ROWS * self._bounds + 0.5).astype(np.int64))

    def _make_block(self, number: int) -> tuple[Indices, Indices]:
        """Member and row of that member, [rows, strands]: in each strand the same members, in an order of its own."""
        before = self._rows_before(number)
        counts = self._rows_before(number + 1) - before
        column = np.repeat(np.arange(len(counts)), counts)
        shuffler = np.random.default_rng([*self._seed, number])
        members = shuffler.permuted(np.tile(column[:, None], self._strands), axis=0)
        rows = np.empty_like(members)
        for member, first in enumerate(before):
            mine = members == member
            rows[mine] = (first + mine.cumsum(axis=0) - 1)[mine]
        return members, rows


class EpochOrder:
    """An endless sequence of the grids of a source; every `len(shard_of)` of them, from the start on, are all of them.

    shard_of: the shard of each grid, [N], never falling
    """

    def __init__(self, shard_of: Indices, seed: Sequence[int], strands: int) -> None:
        assert len(shard_of) > 0
        self._shard_of, self._seed = shard_of, tuple(seed)
        self._strands = min(strands, len(shard_of))
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)  # two at once where one ends within a batch

    def place(self, index: int) -> int:
        """The grid of a sample."""
        count = len(self._shard_of)
        epoch, place = divmod(index, count)
        along, strand = divmod(place, self._strands)
        # The first strands are longer by one where they cannot all be equal.
        length, longer = divmod(count, self._strands)
        return int(self._epoch(epoch)[strand * length + min(strand, longer) + along])

    def _make_epoch(self, epoch: int) -> Indices:
        """All grids: shards in random order, within each its grids in random order."""
        rng = np.random.default_rng([*self._seed, epoch])
        shard_rank = rng.permutation(int(self._shard_of[-1]) + 1)[self._shard_of]
        everything: Indices = np.lexsort((rng.random(len(self._shard_of)), shard_rank))
        return everything
