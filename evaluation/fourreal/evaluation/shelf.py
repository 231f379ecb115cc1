"""Grids of a folder by their key, for jobs that look several folders up in step."""

from __future__ import annotations

from dataclasses import dataclass, field

from fourreal.platform.codec import EncodedGrid
from fourreal.platform.grid import GridMeta
from fourreal.platform.shards import ShardRecord, read_shard, require_shards
from fourreal.platform.storage import Storage


def source_of(meta: GridMeta) -> str:
    """The sha256 of the asset or video that a grid was made of; where that is not said, it is a source of its own."""
    return meta.source_sha256 or meta.key


@dataclass
class Shelf:
    """The grids of one folder by key; the shard read last is kept, since neighbours are asked for together.

    Raises UserError when the folder holds no grid.
    """

    storage: Storage
    _records: dict[str, ShardRecord] = field(init=False)
    _open: tuple[int, dict[str, EncodedGrid]] = field(init=False, default=(-1, {}))

    def __post_init__(self) -> None:
        self._records = {key: record for record in require_shards(self.storage) for key in record.keys}

    @property
    def keys(self) -> list[str]:
        """Every grid's key, in the order of the shards."""
        return list(self._records)

    @property
    def sources(self) -> dict[str, str]:
        """By key, what each grid was made of (`source_of`). Reads every shard."""
        return {key: source_of(grid.meta) for key in self.keys if (grid := self.grid(key))}

    def far_apart(self, count: int) -> list[str]:
        """So many keys, or all: not the first ones, since grids of one source are neighbours."""
        keys = self.keys
        return [keys[i * len(keys) // count] for i in range(count)] if count < len(keys) else keys

    def record(self, key: str) -> ShardRecord | None:
        """The record of the shard that holds this grid; None when there is no such grid."""
        return self._records.get(key)

    def grid(self, key: str) -> EncodedGrid | None:
        """The grid of this key; None when there is none. Raises UserError when its shard is damaged."""
        record = self._records.get(key)
        if record is None:
            return None
        if self._open[0] != record.index:
            self._open = (record.index, {grid.key: grid for grid in read_shard(self.storage, record)})
        return self._open[1].get(key)
