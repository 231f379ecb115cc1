"""Making one shard: the unit of work that is done wholly or not at all. Knows nothing of Ray."""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fourreal.platform import shards
from fourreal.platform.codec import encode
from fourreal.platform.datajob.items import Item, ItemFailure, Processor
from fourreal.platform.datajob.quarantine import record_of, write_quarantine
from fourreal.platform.grid import Grid
from fourreal.platform.logs import about
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import raise_storage_fault

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardOrder:
    """What to make: shard `index` of the plan with this fingerprint, from these items."""

    index: int
    items: Sequence[Item]
    plan: str
    attempts: int = 2
    """How often an item is tried whose failure may pass by itself."""
    lossless: bool = False


@dataclass(frozen=True)
class ShardOutcome:
    """What became of it."""

    index: int
    made: int
    """Grids made now; those carried over are not counted."""
    size_bytes: int
    busy_s: float = 0.0
    """Time that a worker spent on it, waiting for preparation not included."""
    quarantined: Mapping[str, int] = field(default_factory=dict)
    """Items by reason."""


@dataclass(frozen=True)
class ShardProblem:
    """Why a shard was not made: what a StorageError says."""

    index: int
    sentence: str
    lasting: bool


def items_to_do(out: Storage, order: ShardOrder) -> list[Item]:
    """The items that `make_shard` will ask for: all, or those that are not in the shard that is there already."""
    record = shards.read_record(out, order.index)
    return [item for item in order.items if record is None or item.key not in record.keys]


def make_shard(
    out: Storage, order: ShardOrder, processor: Processor, unprepared: Mapping[str, ItemFailure] | None = None
) -> ShardOutcome:
    """Make a shard, quarantining the items that fail and, unasked, those in `unprepared` (failures by key).

    Where the shard is there already, only its quarantined items are tried again; its samples are carried over
    byte for byte. Quarantine records are written before the shard's own record, whose presence means done.

    Raises StorageError when something cannot be read or written for no fault of the items.
    """
    start = time.monotonic()
    samples = _samples_already_there(out, order)
    carried_over = len(samples)
    unprepared = unprepared or {}
    refused = []
    for item in order.items:
        if item.key in samples:
            continue
        if item.key in unprepared:
            outcome: shards.Sample | tuple[ItemFailure, int] = (
                unprepared[item.key],
                unprepared[item.key].attempts,
            )
        else:
            with about(sample=item.key):
                outcome = _process(item, processor, order)
        if isinstance(outcome, tuple):
            failure, attempts = outcome
            with about(sample=item.key, reason=failure.reason):
                log.warning("%s goes to quarantine (%s): %s", item.key, failure.reason, failure.message)
            refused.append(record_of(item, failure, attempts))
        else:
            samples[item.key] = outcome
    write_quarantine(out, refused)
    record = shards.write_shard(
        out,
        order.index,
        [(item.key, samples[item.key]) for item in order.items if item.key in samples],
        quarantined=[record.key for record in refused],
        plan=order.plan,
    )
    return ShardOutcome(
        index=order.index,
        made=len(samples) - carried_over,
        size_bytes=record.size_bytes,
        busy_s=time.monotonic() - start,
        quarantined=Counter(record.reason for record in refused),
    )


def _samples_already_there(out: Storage, order: ShardOrder) -> dict[str, shards.Sample]:
    record = shards.read_record(out, order.index)
    if record is None:
        return {}
    return {grid.key: grid.members for grid in shards.read_shard(out, record)}


def _process(item: Item, processor: Processor, order: ShardOrder) -> shards.Sample | tuple[ItemFailure, int]:
    """The item's members, or its last failure and the number of attempts. Its grid is not kept: the next one may lie
    in the same memory."""
    for attempt in range(1, order.attempts + 1):
        try:
            grid = processor.process(item)
        except ItemFailure as failure:
            raise_storage_fault(failure)
            if attempt == order.attempts or not failure.retryable:
                return failure, attempt
        except Exception as error:  # an item that nobody foresaw must not cost the others
            raise_storage_fault(error)
            message = f"{type(error).__name__}: {error}"
            return ItemFailure("process", "unexpected_error", message, stderr_tail=traceback.format_exc()), attempt
        else:
            if isinstance(grid, Grid):
                assert grid.key == item.key, f"processor made {grid.key!r} from item {item.key!r}"
                return encode(grid, lossless=order.lossless)
            return grid
    raise AssertionError("attempts is at least 1")
