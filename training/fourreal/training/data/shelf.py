"""The shards that a worker has open: opened once, by whichever thread asks first, while others wait for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO

from fourreal.platform.codec import EncodedGrid
from fourreal.platform.shard_reader import ShardReader
from fourreal.platform.shards import ShardRecord, check_size
from fourreal.platform.storage import Storage
from fourreal.training.data.catalogue import Catalogue
from fourreal.training.data.shard_cache import ShardCache

_OPEN = 512
"""Shards open at a time: an open file each, of which a process may usually have 1024."""


class Shelf:
    """Grids of several sources by number. Shards of an object store come through `cache`."""

    def __init__(self, catalogues: Sequence[Catalogue], members: Collection[str], cache: ShardCache | None) -> None:
        assert cache is not None or all(catalogue.storage.is_local for catalogue in catalogues)
        self._catalogues, self._members, self._cache = catalogues, members, cache
        self._readers: OrderedDict[tuple[int, int], Future[ShardReader]] = OrderedDict()
        self._lock = threading.Lock()

    def grid(self, source: int, number: int) -> EncodedGrid:
        """Grid `number` of a source. Raises UserError for a shard that cannot be read."""
        catalogue = self._catalogues[source]
        return self._reader(source, int(catalogue.shard_of[number])).grid(catalogue.keys[number])

    def fetch(self, source: int, number: int) -> None:
        """Have the shard of a grid ready."""
        self._reader(source, int(self._catalogues[source].shard_of[number]))

    def _reader(self, source: int, shard: int) -> ShardReader:
        place = (source, shard)
        with self._lock:
            future = self._readers.get(place)
            mine = future is None
            if future is None:
                future = self._readers[place] = Future()
                if len(self._readers) > _OPEN:
                    self._readers.popitem(last=False)
            self._readers.move_to_end(place)
        if mine:
            try:
                future.set_result(self._open(source, shard))
            except BaseException as error:
                with self._lock:
                    self._readers.pop(place, None)
                future.set_exception(error)
        return future.result()

    def _open(self, source: int, shard: int) -> ShardReader:
        storage, record = self._catalogues[source].storage, self._catalogues[source].records[shard]
        where = f"{storage.uri.rstrip('/')}/{record.name}"
        with self._stream(storage, record, where) as stream:
            return ShardReader(stream, record, where, self._members)

    def _stream(self, storage: Storage, record: ShardRecord, where: str) -> BinaryIO:
        if not storage.is_local:
            assert self._cache is not None
            return self._cache.open(storage, record)
        try:
            return Path(storage.path(record.name)).open("rb")
        except FileNotFoundError:
            check_size(None, record, where)
            raise
