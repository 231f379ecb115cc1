"""The global order: proportions, epochs, and how little of it a worker has to read."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from fourreal.training.data.order import EpochOrder, Mixture

SHARD_OF = np.repeat(np.arange(12), [5, 7, 1, 5, 2, 6, 4, 5, 5, 3, 5, 5])
COUNT = len(SHARD_OF)


@pytest.mark.parametrize("strands", [1, 4, 7, 64])
def test_every_epoch_holds_every_grid_once_in_another_order(strands: int) -> None:
    order = EpochOrder(SHARD_OF, [0], strands)
    epochs = [[order.place(epoch * COUNT + i) for i in range(COUNT)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(COUNT))
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] == [EpochOrder(SHARD_OF, [0], strands).place(i) for i in range(COUNT)]
    assert epochs[0] != [EpochOrder(SHARD_OF, [1], strands).place(i) for i in range(COUNT)]


def test_a_strand_reads_its_shards_one_after_the_other() -> None:
    order = EpochOrder(SHARD_OF, [0], 4)
    for strand in range(4):
        shards = [SHARD_OF[order.place(i)] for i in range(strand, COUNT, 4)]
        changes = sum(a != b for a, b in itertools.pairwise(shards))
        assert changes == len(set(shards)) - 1


@pytest.mark.parametrize("strands", [1, 8])
def test_a_mixture_keeps_its_proportions_and_draws_everything_once(strands: int) -> None:
    weights = [4, 2, 1, 1]
    mixture = Mixture(weights, [3], strands)
    draws = 64 * strands * 5
    places = [mixture.place(n) for n in range(draws)]
    assert Counter(member for member, _ in places) == {m: draws * w // 8 for m, w in enumerate(weights)}
    for member, weight in enumerate(weights):
        assert sorted(index for m, index in places if m == member) == list(range(draws * weight // 8))
    # Random order, and yet none is long in coming: half of a mixture is in every stretch of 40 by far.
    first = [member == 0 for member, _ in places]
    assert all(6 < sum(first[i : i + 40]) < 34 for i in range(0, draws - 40, 40))
    assert places != [Mixture(weights, [4], strands).place(n) for n in range(draws)]


def test_a_member_of_little_weight_is_drawn_in_proportion_in_the_long_run() -> None:
    mixture = Mixture([0.999, 0.001], [0], 2)
    rare = sum(mixture.place(n)[0] for n in range(20_000))
    assert 18 <= rare <= 22


@pytest.mark.parametrize(("world", "more"), [(1, 1), (2, 1), (8, 1), (16, 1), (3, 3), (12, 3), (32, 2)])
def test_a_worker_reads_its_own_share_of_the_shards(world: int, more: int) -> None:
    """All of them together read each shard once, or w / gcd(w, strands) times, in mixtures too."""
    strands, shard_of = 16, np.repeat(np.arange(64), 4)
    mixture = Mixture([2, 1], [0], strands)
    orders = [EpochOrder(shard_of, [source], strands) for source in range(2)]
    read = set()
    for n in range(len(shard_of) * 3 // 2):
        source, index = mixture.place(n)
        read.add((n % world, source, shard_of[orders[source].place(index)]))
    once = len({(source, shard) for _, source, shard in read})
    assert len(read) <= more * once * 1.1
