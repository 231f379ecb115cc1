"""What of a plan is done already, read from the output folder: a few bytes for each of very many shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fourreal.platform.datajob.plan import Plan
from fourreal.platform.errors import UserError
from fourreal.platform.shards import ShardRecord, iterate_shards, read_record
from fourreal.platform.storage import Storage


@dataclass(frozen=True)
class Done:
    """How the shards of a plan stand."""

    shards: npt.NDArray[np.bool_]
    """By index, whether the shard is done."""
    quarantined: Mapping[int, tuple[str, ...]]
    """Keys of the items set aside, of the shards that have any."""
    grids: int
    size_bytes: int

    @property
    def count(self) -> int:
        """Number of shards that are done."""
        return int(self.shards.sum())

    @property
    def missing(self) -> list[int]:
        """Indices of the others."""
        return [int(index) for index in np.flatnonzero(~self.shards)]


def find_done(out: Storage, plan: Plan, made: Iterable[int] = ()) -> Done:
    """Look at every shard's record. Raises UserError for one that belongs to another plan.

    Those of `made` are known to be there: a listing that lags behind may not show them, so they are looked for by name.
    """
    shards = np.zeros(plan.shard_count, bool)
    quarantined: dict[int, tuple[str, ...]] = {}
    grids = size_bytes = 0
    for record in _records(out, made):
        if record.plan != plan.fingerprint or record.index >= plan.shard_count:
            raise UserError(f"{out.path(record.name)} belongs to another plan: choose another --out")
        shards[record.index] = True
        grids += len(record.keys)
        size_bytes += record.size_bytes
        if record.quarantined:
            quarantined[record.index] = record.quarantined
    return Done(shards, quarantined, grids, size_bytes)


def _records(out: Storage, made: Iterable[int]) -> Iterator[ShardRecord]:
    unlisted = set(made)
    for record in iterate_shards(out):
        unlisted.discard(record.index)
        yield record
    for index in sorted(unlisted):
        if record_by_name := read_record(out, index):
            yield record_by_name
