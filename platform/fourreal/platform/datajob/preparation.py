"""Waiting ahead of work: what an item needs from elsewhere, such as a download, is fetched before its turn comes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from fourreal.platform.datajob.items import Item, ItemFailure
from fourreal.platform.logs import about
from fourreal.platform.storage_errors import raise_storage_fault


class Preparer(Protocol):
    """Fetches what items need; one lives in each worker process and is called from several threads at once."""

    def prepare(self, item: Item) -> None:
        """Return when the item can be processed on this machine without waiting. Raises ItemFailure.

        May be called again for an item that is prepared already.
        """
        ...

    def release(self, item: Item) -> None:
        """Told when the item's shard is written: what was fetched for it may go."""
        ...


@dataclass(frozen=True)
class Preparation:
    """A stage in front of processing that waits much and computes little.

    Its threads live in the worker that processes the same items, so that what they fetch lies on the right machine.
    While a worker processes one shard it prepares the next `ahead` ones; a shard whose item is slow to come waits
    beside the others, which go first.
    """

    make_preparer: Callable[[], Preparer]
    """Called in each worker process (it travels by pickle)."""
    parallel: int = 16
    """Items prepared at a time by the whole job, shared out among its workers; at least one in each."""
    ahead: int = 2
    """Shards of each worker that are prepared while it processes another; bounds what lies there unused."""

    def threads_of_worker(self, workers: int) -> int:
        """This job's share of `parallel` in each of so many workers."""
        return max(1, self.parallel // workers)


def prepare_items(items: Iterable[Item], preparer: Preparer, threads: ThreadPoolExecutor) -> Mapping[str, ItemFailure]:
    """Prepare all the items, as many at a time as there are threads; returns the failures by key.

    Raises StorageError.
    """
    failures = threads.map(lambda item: (item.key, _prepare(item, preparer)), items)
    return {key: failure for key, failure in failures if failure is not None}


def _prepare(item: Item, preparer: Preparer) -> ItemFailure | None:
    try:
        with about(sample=item.key):
            preparer.prepare(item)
    except ItemFailure as failure:
        raise_storage_fault(failure)
        return failure
    except Exception as error:  # an item that nobody foresaw must not cost the others
        raise_storage_fault(error)
        message = f"{type(error).__name__}: {error}"
        return ItemFailure("prepare", "unexpected_error", message, stderr_tail=traceback.format_exc())
    return None
