"""The plan: which items there are and which shard each belongs to, written once beside the output."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fourreal.platform.datajob.items import Item
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

PLAN = "plan.parquet"
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
    keys, sources, specs, groups = [], [], [], []
    seen: set[str] = set()
    for item in items:
        if item.key in seen:
            raise UserError(f"two items are called {item.key!r} ({item.source} is the second): rename one")
        seen.add(item.key)
        keys.append(item.key)
        sources.append(item.source)
        specs.append(json.dumps(item.spec, sort_keys=True))
        groups.append(item.group)
    if not keys:
        raise UserError(f"{job} has nothing to do: no source was found")
    shards = _assign(groups, items_per_shard)
    table = pa.table({"key": keys, "source": sources, "spec": specs, "shard": pa.array(shards, pa.int64())})
    header = json.dumps({"job": job, "settings": settings, "items_per_shard": items_per_shard}, sort_keys=True)
    digest = hashlib.sha256(header.encode())
    for column in (keys, sources, specs, map(str, shards)):
        for text in column:
            digest.update(text.encode() + b"\0")
    return Plan(job, json.loads(header)["settings"], items_per_shard, table, digest.hexdigest()[:16])


def _assign(groups: Sequence[str], items_per_shard: int) -> list[int]:
    """Shard of each item: full ones in order, but a group that would not fit into the rest of one begins the next."""
    shards: list[int] = []
    shard, room = 0, items_per_shard
    for _, members in itertools.groupby(enumerate(groups), key=lambda pair: pair[1] or pair[0]):
        left = sum(1 for _ in members)
        if left > room and room < items_per_shard:
            shard, room = shard + 1, items_per_shard
        while left > 0:
            if room == 0:
                shard, room = shard + 1, items_per_shard
            taken = min(left, room)
            shards += [shard] * taken
            left, room = left - taken, room - taken
    return shards


def write_plan(storage: Storage, plan: Plan) -> None:
    """Write the plan beside the output."""
    header = {
        "job": plan.job,
        "settings": plan.settings,
        "items_per_shard": plan.items_per_shard,
        "fingerprint": plan.fingerprint,
    }
    buffer = io.BytesIO()
    pq.write_table(plan.table.replace_schema_metadata({_HEADER: json.dumps(header).encode()}), buffer)
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
