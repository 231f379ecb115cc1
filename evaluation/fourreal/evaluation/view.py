"""`fourreal view`: grids on one HTML page, side by side where several folders hold the same key.

fourreal view shards/ --out page.html
fourreal view reference/ generated/ --baselines average --out page.html
fourreal view reference/ reconstructed/ --out page.html

A folder of `fourreal reconstruct` brings its scenes along: the page then has a tab of splats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.given import given_pairs
from fourreal.evaluation.scenes import sequence_of
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.view_page import (
    Entry,
    Panel,
    build_page,
    cameras_of_encoded,
    panel_of_encoded,
    panel_of_frames,
)
from fourreal.platform.codec import EncodedGrid
from fourreal.platform.config import command
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage


@dataclass(frozen=True)
class Config:
    """Put grids on one self-contained HTML page on which one moves through views and times."""

    folders: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of shards; grids of the same key are shown side by side, in this order."""
    out: Path = Path("grids.html")
    """The page to write."""
    labels: tuple[str, ...] = ()
    """What to call each folder on the page (default: the folder's name)."""
    baselines: tuple[str, ...] = ()
    """Baselines to show beside, made from the given frames of the last folder's grid, such as "average"."""
    keys: tuple[str, ...] = ()
    """Show these grids alone (default: all of the first folder)."""
    limit: int = 24
    """Most grids on the page; a grid of 8 by 8 frames takes .6 MB at 96x160 and 4 MB at 288x512."""
    title: str = "View-time grids"


def run(config: Config) -> None:
    """Write the page. Raises UserError for an empty folder, an unknown key or baseline."""
    _check(config)
    labels = config.labels or tuple(_name(folder) for folder in config.folders)
    shelves = [Shelf(Storage(folder)) for folder in config.folders]
    wanted = list(config.keys) or shelves[0].keys
    for key in wanted:
        if not any(shelf.record(key) for shelf in shelves):
            raise UserError(f"no folder holds a grid {key!r}: `fourreal inspect` lists what is there")
    shown = wanted[: config.limit]
    page = build_page(_entries(shelves, labels, shown, config.baselines), config.title)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(page, encoding="utf-8")
    left_out = f" ({len(wanted) - len(shown)} more are left out: raise --limit)" if len(shown) < len(wanted) else ""
    print(f"{config.out}: {len(shown)} grids{left_out}, {config.out.stat().st_size / 1e6:.1f} MB")


def _entries(
    shelves: Sequence[Shelf], labels: Sequence[str], keys: Sequence[str], baselines: Sequence[str]
) -> Iterator[Entry]:
    for key in keys:
        grids = [(label, shelf.grid(key)) for label, shelf in zip(labels, shelves, strict=True)]
        found = [(label, grid) for label, grid in grids if grid is not None]
        panels = [panel_of_encoded(label, grid) for label, grid in found]
        scenes = (sequence_of(shelf.storage, key) for shelf in shelves)
        splats = next((scene for scene in scenes if scene is not None), None)
        yield Entry(found[0][1].meta, panels + baseline_panels(found[-1][1], baselines), splats)


def baseline_panels(grid: EncodedGrid, names: Sequence[str]) -> list[Panel]:
    """What these baselines make of the grid's own freeze-time and fixed-view video; nothing where one was generated."""
    V, T, _, _ = grid.shape
    border = [(v, t) for v in range(V) for t in range(T) if 0 in (v, t)]
    given = given_pairs(grid.meta, V, T)
    if not names or (given is not None and not set(border) <= set(given)):
        return []
    freeze_time = grid.frames_at((v, 0) for v in range(V))
    fixed_view = grid.frames_at((0, t) for t in range(T))
    return [
        panel_of_frames(
            f"{name} (baseline)", BASELINES[name](freeze_time, fixed_view), border, cameras=cameras_of_encoded(grid)
        )
        for name in names
    ]


def _check(config: Config) -> None:
    if not config.folders:
        raise UserError("name at least one folder of shards to view")
    if config.labels and len(config.labels) != len(config.folders):
        raise UserError(f"{len(config.labels)} labels for {len(config.folders)} folders: give one for each, or none")
    for name in config.baselines:
        if name not in BASELINES:
            raise UserError(f"there is no baseline {name!r}: known are {', '.join(BASELINES)}")
    if config.limit < 1:
        raise UserError(f"--limit must be at least 1, not {config.limit}")


def _name(folder: str) -> str:
    return folder.rstrip("/").rsplit("/", 1)[-1] or folder


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal view")


if __name__ == "__main__":
    raise SystemExit(main())
