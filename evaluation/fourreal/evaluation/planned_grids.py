"""Grids of a folder as items of a data job, whose plan says what their shards were when it was made."""

from __future__ import annotations

from collections.abc import Iterator

from fourreal.evaluation.shelf import Shelf
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.storage import Storage


def grid_items(folder: str, limit: int | None) -> Iterator[Item]:
    """An item for each grid of the folder, or for the first `limit`. Raises UserError when it holds none."""
    shelf = Shelf(Storage(folder))
    for key in shelf.keys[:limit]:
        record = shelf.record(key)
        assert record is not None
        yield Item(key, f"{folder.rstrip('/')}/{record.name}#{key}", {"shard_sha256": record.sha256})


def planned_grid(shelf: Shelf, item: Item) -> Grid:
    """The grid of an item of `grid_items`. Raises ItemFailure when it is damaged, or another than was planned."""
    try:
        record, encoded = shelf.record(item.key), shelf.grid(item.key)
        if record is None or encoded is None or record.sha256 != item.spec["shard_sha256"]:
            raise ItemFailure("read", "changed", f"{item.source} changed since the plan: use another --out")
        return encoded.decode()
    except UserError as error:
        raise ItemFailure("read", "damaged", str(error)) from None
