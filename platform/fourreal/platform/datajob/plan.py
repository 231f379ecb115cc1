"""The plan: which items there are and which shard each belongs to, written once beside the output."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fourreal.platform.datajob.items import Item
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

PLAN = "plan.parquet"
_ITEM_SCHEMA = pa.schema({"key": pa.string(), "source": pa.string(), "spec": pa.string()})
_ROWS_AT_ONCE = 16384
_HEADER = b"fourreal.plan"


@dataclass(frozen=True)
class Plan:
    """Items in shards; columns in Arrow (key, source, spec, shard), so that a million items take little memory.

    `settings` are those that decide the grids' bytes; they and the items make the fingerprint.
    """

    job: str
    settings: Mapping[str, Any]
    items_per_shard: int
    table: pa.Table
    fingerprint: str

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return int(self._shards[-1]) + 1

    @property
    def item_count(self) -> int:
        """Number of items."""
        return int(self.table.num_rows)

    @cached_property
    def _shards(self) -> npt.NDArray[np.int64]:
        """Shard of each item, never falling."""
        return np.asarray(self.table.column("shard").to_numpy(), np.int64)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Items in each shard."""
        return np.bincount(self._shards, minlength=self.shard_count)

    def items_of(self, shard: int) -> list[Item]:
        """The items of one shard, in order."""
        first, end = np.searchsorted(self._shards, [shard, shard + 1])
        rows = self.table.slice(first, end - first).to_pylist()
        return [Item(row["key"], row["source"], json.loads(row["spec"])) for row in rows]


def make_plan(job: str, settings: Mapping[str, Any], items: Iterable[Item], items_per_shard: int) -> Plan:
    """Put `items`, in their order, into shards of at most `items_per_shard`, groups together where they fit.

    Raises UserError when there are none or a key comes twice.
    """
    if items_per_shard < 1:
        raise UserError(f"--items-per-shard must be at least 1, not {items_per_shard}")
    columns = _Columns()
    shards = array("q", _assign(columns.take(items), items_per_shard))
    if not shards:
        raise UserError(f"{job} has nothing to do: no source was found")
    table = columns.table().append_column("shard", pa.array(np.asarray(shards), pa.int64()))
    _refuse_doubles(table)
    header = json.dumps({"job": job, "settings": settings, "items_per_shard": items_per_shard}, sort_keys=True)
    return Plan(job, json.loads(header)["settings"], items_per_shard, table, _fingerprint(header, table))


class _Columns:
    """Items on their way into a table: a few thousand as Python objects, the others packed."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []
        self.batches: list[Any] = []

    def take(self, items: Iterable[Item]) -> Iterator[str]:
        """Pack the items as they come, handing on the group of each."""
        for item in items:
            self.rows.append((item.key, item.source, json.dumps(item.spec, sort_keys=True)))
            if len(self.rows) == _ROWS_AT_ONCE:
                self._pack()
            yield item.group

    def table(self) -> pa.Table:
        """All of them."""
        self._pack()
        return pa.Table.from_batches(self.batches, _ITEM_SCHEMA)

    def _pack(self) -> None:
        columns: Sequence[Sequence[str]] = list(zip(*self.rows, strict=True)) or [[], [], []]
        self.batches.append(pa.record_batch([pa.array(c, pa.string()) for c in columns], schema=_ITEM_SCHEMA))
        self.rows = []


def _refuse_doubles(table: pa.Table) -> None:
    """Raise UserError when a key comes twice."""
    keys = table.column("key")
    if pc.count_distinct(keys).as_py() == table.num_rows:
        return
    seen: set[str] = set()
    for row in table.select(["key", "source"]).to_batches():
        for key, source in zip(*(column.to_pylist() for column in row.columns), strict=True):
            if key in seen:
                raise UserError(f"two items are called {key!r} ({source} is the second): rename one")
            seen.add(key)


def _fingerprint(header: str, table: pa.Table) -> str:
    digest = hashlib.sha256(header.encode())
    for column in table.columns:
        for chunk in column.chunks:
            texts = map(str, chunk.to_pylist())
            digest.update("".join(f"{text}\0" for text in texts).encode())
    return digest.hexdigest()[:16]


def _assign(groups: Iterable[str], items_per_shard: int) -> Iterator[int]:
    """Shard of each item: full ones in order, but a group that would not fit into the rest of one begins the next."""
    shard, room = 0, items_per_shard
    for _, members in itertools.groupby(enumerate(groups), key=lambda pair: pair[1] or pair[0]):
        left = sum(1 for _ in members)
        if left > room and room < items_per_shard:
            shard, room = shard + 1, items_per_shard
        while left > 0:
            if room == 0:
                shard, room = shard + 1, items_per_shard
            taken = min(left, room)
            yield from itertools.repeat(shard, taken)
            left, room = left - taken, room - taken


def write_plan(storage: Storage, plan: Plan) -> None:
    """Write the plan beside the output."""
    header = {
        "job": plan.job,
        "settings": plan.settings,
        "items_per_shard": plan.items_per_shard,
        "fingerprint": plan.fingerprint,
    }
    buffer = io.BytesIO()
    table = plan.table.replace_schema_metadata({_HEADER: json.dumps(header).encode()})
    # A dictionary helps where values come again, which keys do not, and costs memory for every value.
    pq.write_table(table, buffer, compression="zstd", use_dictionary=["source"], row_group_size=_ROWS_AT_ONCE)
    storage.write(PLAN, buffer.getvalue())


def read_plan(storage: Storage) -> Plan | None:
    """The plan beside the output; None when there is none. Raises UserError when it is unreadable."""
    if not storage.exists(PLAN):
        return None
    try:
        table = pq.read_table(io.BytesIO(storage.read(PLAN)))
        header = json.loads(table.schema.metadata[_HEADER])
        table.column("shard")
        return Plan(header["job"], header["settings"], header["items_per_shard"], table, header["fingerprint"])
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{storage.path(PLAN)} is no plan ({error}): choose another --out") from None


def check_same_work(plan: Plan, job: str, settings: Mapping[str, Any], items_per_shard: int) -> None:
    """Raise UserError, naming the first difference, when `plan` was made for other work than is asked for now."""
    wanted = {"job": job, "items_per_shard": items_per_shard, **json.loads(json.dumps(settings))}
    planned = {"job": plan.job, "items_per_shard": plan.items_per_shard, **plan.settings}
    for name in sorted({*wanted, *planned}):
        if wanted.get(name) != planned.get(name):
            raise UserError(
                f"the output folder was planned with {name} = {planned.get(name)!r}, now it is {wanted.get(name)!r}: "
                "choose another --out, or the settings of the plan to go on with it"
            )
