"""The dataset card: what lies in an output folder, under which licences, whom to credit, and how it was made.

It is `README.md` beside the shards, with one line for each asset of each grid in `attribution.csv`; both are
written anew at the end of a run, from the plan and the shards' records alone, so that a large data set need not be
read.
"""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fourreal.datagen.scene_items import objects_of
from fourreal.platform.datajob import JobSummary
from fourreal.platform.datajob.plan import Plan, read_plan
from fourreal.platform.shards import list_shards
from fourreal.platform.storage import Storage

CARD = "README.md"
ATTRIBUTION = "attribution.csv"
_COLUMNS = ("key", "licence", "title", "author", "url", "source", "sha256")


def write_card(
    out: Storage, summary: JobSummary, packages: Sequence[str], *, source: str = "asset", unknown: str = ""
) -> None:
    """Write the card of the data set in `out`; `packages` are those whose versions decide what was made.

    `source` is what grids are made from, `unknown` what to say where the licence of some is not known.
    """
    plan = read_plan(out)
    assert plan is not None, "a job that ran has a plan"
    rows = list(_rows(out, plan))
    table = io.StringIO()
    writer = csv.DictWriter(table, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    out.write(ATTRIBUTION, table.getvalue().encode())
    out.write(CARD, _card(plan, summary, rows, packages, source, unknown).encode())


def _rows(out: Storage, plan: Plan) -> Iterator[dict[str, str]]:
    for record in list_shards(out):
        keys = set(record.keys)
        for item in plan.items_of(record.index):
            if item.key in keys:
                for shown in objects_of(item):
                    spec = shown.spec
                    named = {"licence": spec.get("licence"), "sha256": spec.get("sha256")}
                    row = {"key": item.key, "source": shown.source, **named, **spec.get("attribution", {})}
                    yield {column: str(row.get(column) or "") for column in _COLUMNS}


def _card(
    plan: Plan,
    summary: JobSummary,
    rows: Sequence[Mapping[str, str]],
    packages: Sequence[str],
    source: str,
    unknown: str,
) -> str:
    licences = Counter(row["licence"] or "unknown" for row in rows)
    shards = f"{summary.shards} of {plan.shard_count}"
    parts = [
        f"# Grids made by `fourreal {plan.job}`",
        f"{summary.grids} view-time grids of {plan.item_count} planned, in {shards} shards (WebDataset; "
        f"`fourreal inspect` describes them). Plan `{plan.fingerprint}`.",
        "## Licences",
        _markdown(("licence", f"{source}s in grids"), licences.most_common()),
        f"Each grid keeps the licence of each {source} that it shows: it names it, with title, author and address, and "
        f"so does [{ATTRIBUTION}]({ATTRIBUTION}). Whoever passes grids on passes this on too; where a licence "
        "forbids commercial use or asks for the same licence, that holds for its grids.",
        *([unknown] if unknown and licences["unknown"] else []),
        "## Set aside",
        _set_aside(plan, summary),
        "## Settings",
        _markdown(("setting", "value"), ((name, json.dumps(value)) for name, value in sorted(plan.settings.items()))),
        "## Versions",
        _markdown(("package", "version"), _versions(packages)),
    ]
    return "\n\n".join(parts) + "\n"


def _set_aside(plan: Plan, summary: JobSummary) -> str:
    if summary.quarantined:
        return _markdown(("reason", "items"), sorted(summary.quarantined.items()))
    if missing := len(summary.missing_shards):
        return f"Nothing so far; {missing} of {plan.shard_count} shards are not made yet."
    return "Nothing: every planned item became a grid."


def _markdown(header: tuple[str, str], rows: Iterable[tuple[str, object]]) -> str:
    lines = [header, ("---", "---"), *((_cell(name), _cell(str(value))) for name, value in rows)]
    return "\n".join(f"| {name} | {value} |" for name, value in lines)


def _cell(text: str) -> str:
    """Text of others, which must not end the cell or become a link or a tag."""
    return "".join(f"\\{c}" if c in "\\|<[`" else c for c in " ".join(text.split()))


def _versions(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in packages:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a checkout
            yield name, "not installed"
