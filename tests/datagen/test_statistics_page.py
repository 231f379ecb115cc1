from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from fourreal.datagen.statistics_page import PAGE, write_statistics_page
from fourreal.platform.codec import encode
from fourreal.platform.datajob import JobSummary
from fourreal.platform.grid import Grid
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

SUMMARY = JobSummary(
    grids=3,
    quarantined={"no_<b>mesh</b>": 2},
    shards=2,
    missing_shards=[],
    size_bytes=1_500_000,
    tried_now=True,
    made_now=3,
    busy_s=4.5,
    wall_s=10.0,
    out="out",
)


def test_the_page_counts_draws_and_shows(tmp_path: Path, make_grid: Callable[..., Grid]) -> None:
    out = Storage(str(tmp_path))
    grids = [make_grid(key, V=5, T=6, seed=i) for i, key in enumerate("abc")]
    moved = [
        dataclasses.replace(grid, meta=dataclasses.replace(grid.meta, motion={"shift_px": float(i)}))
        for i, grid in enumerate(grids)
    ]
    write_shard(out, 0, [(grid.key, encode(grid)) for grid in moved[:2]])
    write_shard(out, 1, [(grid.key, encode(grid)) for grid in moved[2:]])
    write_statistics_page(out, "render", SUMMARY)
    page = out.read(PAGE).decode()
    assert "1.50 core-seconds" in page
    assert "no_&lt;b&gt;mesh&lt;/b&gt;" in page
    assert "shift px: 0 to 2, median 1" in page
    assert page.count("<rect") == 24
    assert "data:image/jpeg;base64," in page
    assert "http://" not in page.replace("http-equiv", "")


def test_an_empty_set_has_a_page_too(tmp_path: Path) -> None:
    out = Storage(str(tmp_path))
    write_shard(out, 0, [])
    write_statistics_page(out, "render", dataclasses.replace(SUMMARY, grids=0, made_now=0))
    assert "There is no grid yet" in out.read(PAGE).decode()
