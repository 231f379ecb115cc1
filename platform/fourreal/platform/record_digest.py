"""Many small records of a folder, read as one file: a digest beside them holds what each of them said.

A data set of 100,000 shards has as many index records; to open each takes long, on an object store very long. The
digest holds their bytes by name, size and time of change. One listing of the folder tells which records are still what
the digest says; only the others are opened. It is a cache: the listing decides what exists, and without the digest
the same is read, more slowly.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fourreal.platform.storage import FileEntry, Storage

DIGEST = "records.parquet"
_SCHEMA = pa.schema({"path": pa.string(), "size": pa.int64(), "changed_ns": pa.int64(), "data": pa.binary()})
_ROWS = 2048
"""Records that are held in memory at a time."""
_SETTLED_NS = 2_000_000_000
"""How much older than the digest a record must be: an object store's clock ticks once a second, and a record that
changed twice within a tick would look as it did before."""

Row = tuple[str, int, int, bytes]


def read_records(storage: Storage, is_record: Callable[[str], bool]) -> Iterator[tuple[FileEntry, bytes]]:
    """The records directly in the folder with their bytes, sorted by path. Raises FileNotFoundError when one goes."""
    entries = storage.list()
    records = [entry for entry in entries if is_record(entry.path)]
    digests = [entry for entry in entries if entry.path == DIGEST]
    known = _rows(storage, digests[0].changed_ns) if digests else iter(())
    row = next(known, None)
    for first in range(0, len(records), _ROWS):
        some = records[first : first + _ROWS]
        found: dict[str, bytes] = {}
        for entry in some:
            while row is not None and row[0] < entry.path:
                row = next(known, None)
            if row is not None and row[:3] == (entry.path, entry.size_bytes, entry.changed_ns):
                found[entry.path] = row[3]
        yield from _completed(storage, some, found)


def write_digest(storage: Storage, is_record: Callable[[str], bool]) -> int:
    """Write the digest of the records as they are now; returns how many there are."""
    buffer, count = io.BytesIO(), 0
    with pq.ParquetWriter(buffer, _SCHEMA, compression="zstd") as writer:
        rows: list[Row] = []
        for entry, data in read_records(storage, is_record):
            rows.append((entry.path, entry.size_bytes, entry.changed_ns, data))
            count += 1
            if len(rows) == _ROWS:
                writer.write_batch(_batch(rows))
                rows = []
        writer.write_batch(_batch(rows))
    storage.write(DIGEST, buffer.getvalue())
    return count


def _batch(rows: Sequence[Row]) -> Any:
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [[]] * len(_SCHEMA)
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA)


def _rows(storage: Storage, written_ns: int) -> Iterator[Row]:
    """What the digest says of records that had settled when it was written; nothing when it cannot be read."""
    try:
        file = pq.ParquetFile(io.BytesIO(storage.read(DIGEST)))
        if file.schema_arrow != _SCHEMA:
            return
        for batch in file.iter_batches(_ROWS):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if row[2] + _SETTLED_NS < written_ns:
                    yield row
    except (pa.ArrowException, OSError):
        return


def _completed(
    storage: Storage, entries: list[FileEntry], found: dict[str, bytes]
) -> Iterator[tuple[FileEntry, bytes]]:
    others = storage.read_many([entry.path for entry in entries if entry.path not in found])
    for entry in entries:
        data = found.get(entry.path)
        yield entry, next(others) if data is None else data
