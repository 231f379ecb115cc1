"""The statistics page of a data set: `statistics.html` beside the shards, from their records and a few grids.

Only the grids on the contact sheet are read; counts and histograms come from the index records, so that a large data
set need not be opened.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from fourreal.platform.contact_sheet import contact_sheet, stack_sheets
from fourreal.platform.datajob import JobSummary
from fourreal.platform.shards import ShardRecord, list_shards, read_shard
from fourreal.platform.storage import Storage

PAGE = "statistics.html"
_SHOWN = 8
_BINS = 24
_STYLE = """
:root { color-scheme: light dark; --bar: #2f6fdb; --line: #8885; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem 1.2rem .2rem 0; text-align: left; }
td { border-top: 1px solid var(--line); font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: 0 1.5rem 1rem 0; } figcaption { font-size: 13px; }
svg { border-bottom: 1px solid var(--line); } rect { fill: var(--bar); } img { max-width: 100%; border-radius: 6px; }
"""


def write_statistics_page(out: Storage, name: str, summary: JobSummary) -> None:
    """Write the page of the data set in `out`, made by the job `name`."""
    records = list_shards(out)
    parts = [
        f"<h1>Grids made by fourreal {html.escape(name)}</h1>",
        _table(("", ""), _facts(summary)),
        "<h2>Quarantine</h2>" if summary.quarantined else "",
        _table(("reason", "items"), sorted(summary.quarantined.items())) if summary.quarantined else "",
        "<h2>Motion</h2>",
        *(_histogram(statistic, values) for statistic, values in _motion(records).items()),
        "<h2>A look</h2>",
        _look(out, records),
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    title = f"<title>fourreal {html.escape(name)}: statistics</title>"
    page = (
        f"<!doctype html><html lang=en><head>{head}{title}<style>{_STYLE}</style></head><body>{''.join(parts)}</body>"
    )
    out.write(PAGE, page.encode())


def _facts(summary: JobSummary) -> Iterable[tuple[str, str]]:
    yield "grids", f"{summary.grids:,}"
    yield "quarantined", f"{sum(summary.quarantined.values()):,}"
    yield "shards", f"{summary.shards:,} ({summary.size_bytes / 1e6:,.1f} MB)"
    if summary.made_now:
        yield "made in the last run", f"{summary.made_now:,} in {summary.wall_s:,.0f} s"
        yield "work for each of them", f"{summary.busy_s / summary.made_now:.2f} core-seconds"


def _motion(records: Iterable[ShardRecord]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for record in records:
        for statistics in record.motion.values():
            for name, value in statistics.items():
                values.setdefault(name, []).append(value)
    return dict(sorted(values.items()))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def _histogram(name: str, values: Sequence[float]) -> str:
    counts, edges = np.histogram(values, bins=_BINS)
    tallest = max(1, int(counts.max()))
    bars = "".join(
        f'<rect x="{10 * i}" y="{80 - 80 * count / tallest:.1f}" width="9" height="{80 * count / tallest:.1f}"/>'
        for i, count in enumerate(counts)
    )
    middle = float(np.median(values))
    caption = f"{html.escape(name.replace('_', ' '))}: {edges[0]:.4g} to {edges[-1]:.4g}, median {middle:.4g}"
    picture = f'<svg width="{10 * _BINS}" height="80" role="img">{bars}</svg>'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _look(out: Storage, records: Sequence[ShardRecord]) -> str:
    """Grids from shards spread over the whole set, one from each."""
    filled = [record for record in records if record.keys]
    if not filled:
        return "<p>There is no grid yet.</p>"
    spread = sorted({round(x) for x in np.linspace(0, len(filled) - 1, min(_SHOWN, len(filled)))})
    grids = [next(read_shard(out, filled[i])) for i in spread]
    sheets = [contact_sheet(grid.decode().frames, most=4) for grid in grids]
    picture = stack_sheets(sheets, [grid.key for grid in grids], columns=2 if len(sheets) > 1 else 1)
    ok, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert ok
    data = base64.b64encode(jpeg.tobytes()).decode()
    return f'<img alt="Grids: views downwards, times to the right" src="data:image/jpeg;base64,{data}">'
