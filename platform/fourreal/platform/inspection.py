"""`fourreal inspect`: what is in a folder of shards.

fourreal inspect outputs/demo/rendered
fourreal inspect s3://bucket/rendered --json
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from fourreal.platform.codec import FRAMES
from fourreal.platform.config import command
from fourreal.platform.contact_sheet import Image, contact_sheet, stack_sheets, write_png
from fourreal.platform.datajob import list_quarantine
from fourreal.platform.datajob.plan import read_plan
from fourreal.platform.errors import UserError
from fourreal.platform.shards import list_shards, read_grids, read_shard
from fourreal.platform.storage import Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """Tell what grids a folder of shards holds, and show them."""

    folder: Annotated[str, tyro.conf.Positional]
    """Local folder or s3:// address of shards."""
    json: bool = False
    """Print one JSON document instead of text."""
    sheet: Path | None = None
    """Write a contact sheet here as PNG (views from top to bottom, times from left to right); with a local
    folder, `contact-sheet.png` in it is the default."""
    sheet_grids: int = 6
    """How many grids the contact sheet shows; 0 writes none."""


def describe(storage: Storage) -> dict[str, Any]:
    """What is there, as JSON: counts, shapes, bytes, reasons of quarantine, licences and captions counted."""
    records = list_shards(storage)
    quarantine = list_quarantine(storage)
    plan = read_plan(storage)
    if not records and plan is None:
        raise UserError(f"{storage.uri} holds no shards: give the --out of `fourreal render` or `fourreal synthesize`")
    shapes: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    members: Counter[str] = Counter()
    for record in records:
        for grid in read_shard(storage, record):
            shapes["x".join(map(str, grid.shape))] += 1
            licences[grid.meta.licence or "unknown"] += 1
            members.update(grid.members.keys())
    return {
        "folder": storage.uri,
        "grids": sum(len(record.keys) for record in records),
        "quarantined": len(quarantine),
        "quarantine_reasons": dict(Counter(entry.reason for entry in quarantine)),
        "shards": len(records),
        "planned_shards": plan.shard_count if plan else len(records),
        "planned_items": plan.item_count if plan else None,
        "job": plan.job if plan else None,
        "size_bytes": sum(record.size_bytes for record in records),
        "shapes_v_t_h_w": dict(shapes),
        "licences": dict(licences),
        "members": dict(members),
        "keys": [key for record in records for key in record.keys],
        "quarantine": [asdict(entry) for entry in quarantine],
    }


def run(config: Config) -> None:
    """Print the description and write the contact sheet."""
    storage = Storage(config.folder)
    document = describe(storage)
    sheet = config.sheet or (Path(storage.path("contact-sheet.png")) if storage.is_local else None)
    if sheet and FRAMES in document["members"] and config.sheet_grids > 0:
        try:
            write_png(sheet, _sheet(storage, config.sheet_grids))
            document["contact_sheet"] = str(sheet)
        except OSError as error:
            if config.sheet:
                raise UserError(f"--sheet {sheet} cannot be written: {error.strerror}") from None
            log.warning("there is no contact sheet, %s cannot be written: %s", sheet, error.strerror)
    if config.json:
        json.dump(document, sys.stdout, indent=1)
        print()
    else:
        _print(document)


def _sheet(storage: Storage, most: int) -> Image:
    sheets: list[Image] = []
    titles: list[str] = []
    for grid in itertools.islice(read_grids(storage), most):
        sheets.append(contact_sheet(grid.decode().frames))
        titles.append(f"{grid.key}  {grid.meta.caption}".strip())
    return stack_sheets(sheets, titles, columns=2 if len(sheets) > 1 else 1)


def _print(document: dict[str, Any]) -> None:
    print(document["folder"])
    shards = f"{document['shards']} of {document['planned_shards']}"
    rows = [
        ("grids", str(document["grids"])),
        ("shapes V x T x H x W", _counted(document["shapes_v_t_h_w"])),
        ("carried", ", ".join(sorted(name.split(".")[0] for name in document["members"]))),
        ("licences", _counted(document["licences"])),
        ("shards", f"{shards}, {document['size_bytes'] / 1e6:.1f} MB"),
        ("quarantined", str(document["quarantined"])),
        *((f"  {entry['key']}", f"{entry['reason']}: {entry['message']}") for entry in document["quarantine"][:10]),
        ("contact sheet", document.get("contact_sheet", "none: --sheet FILE writes one")),
    ]
    for label, value in rows:
        print(f"  {label:<23} {value}")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items()) or "none"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, run, argv, prog="fourreal inspect")


if __name__ == "__main__":
    raise SystemExit(main())
