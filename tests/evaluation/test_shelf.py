"""Grids by key, and what they were made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.evaluation.synthetic_grids import make_grid

from fourreal.evaluation.shelf import Shelf
from fourreal.platform.codec import encode
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage


def test_what_is_shown_of_a_folder_is_of_different_sources(tmp_path: Path) -> None:
    """Eight grids of each of three assets in two shards, as `render` leaves them."""
    storage = Storage(str(tmp_path))
    grids = [make_grid(f"{asset}-{i}", height=12, width=16) for asset in ("cube", "man", "truck") for i in range(8)]
    grids = [replace(grid, meta=replace(grid.meta, source_sha256=grid.key.split("-")[0])) for grid in grids]
    for shard in range(2):
        write_shard(storage, shard, [(grid.key, encode(grid)) for grid in grids[12 * shard : 12 * shard + 12]])
    shelf = Shelf(storage)
    assert len(shelf.sources) == 24
    assert [shelf.sources[key] for key in shelf.far_apart(3)] == ["cube", "man", "truck"]
    assert len({shelf.sources[key] for key in shelf.far_apart(2)}) == 2
    assert shelf.far_apart(100) == shelf.keys
