"""What a person reads of the study: tables in Markdown, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fourreal.evaluation.report import number, title
from fourreal.evaluation.significance import LEAST_SOURCES, LEVEL
from fourreal.evaluation.studies.arms import ARMS, MAIN
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.figures import FIGURES
from fourreal.evaluation.studies.ledger import Record
from fourreal.evaluation.studies.summary import Findings, Gap, Method, Value

SCHEMA_VERSION = 2


def write_report(
    folder: Path,
    config: Config,
    found: Sequence[Findings],
    base: Record,
    fits: Mapping[tuple[str, int], Record],
    parts: Mapping[str, Record],
) -> str:
    """Write `study.md` and `study.json`; returns the first.

    `base`: of `check_base`, `fits`: of `train_arms`, `parts`: of `check_parts`.
    """
    text = (
        "\n\n".join(
            [
                _head(config),
                _base(base),
                *map(_test, found),
                *_parts(parts),
                _fits(config, fits),
                _pictures(folder),
                _definitions(found),
            ]
        )
        + "\n"
    )
    (folder / "study.md").write_text(text)
    document = _document(config, found, base, fits) | {"parts": dict(parts)}
    (folder / "study.json").write_text(json.dumps(document, indent=1, allow_nan=False))
    return text


def _head(config: Config) -> str:
    fit = config.fit
    return (
        f"# Two streams, measured\n\n"
        f"Grids of {config.views} views and {config.times} times at {config.height}x{config.width}. Every arm starts "
        f"from one base model ({fit.size}, patches of {fit.patch_size} px, {fit.base_steps} steps of "
        f"{fit.base_batch_size} videos) and is fitted as a whole in {fit.grid_steps} steps of {fit.grid_batch_size} "
        f"grids with {config.seeds} seed{'s' if config.seeds > 1 else ''}: equal numbers of grids, not of seconds. "
        f"Each value is a mean over grids and seeds, [low, high] its {LEVEL:.0%} interval by bootstrap over assets "
        f"with all of their grids (none below {LEAST_SOURCES} assets), ± the standard deviation between seeds; (N) "
        f"stands where fewer grids than the test set's have a value. Reconstructions are of the first seed alone. The "
        f"regression arm is `{MAIN}` trained at diffusion time 1 alone."
    )


def _base(record: Record) -> str:
    rows = [["test set", "base model", "linear blend", "difference, dB", "grids"]]
    for test, entry in record.items():
        spread = entry["interval_95"]
        limits = "" if spread is None else f" [{spread[0]:+.2f}, {spread[1]:+.2f}]"
        cells = [f"{entry['base']:.2f}", f"{entry['blend']:.2f}", f"{entry['difference']:+.2f}{limits}"]
        rows.append([test, *cells, str(entry["grids"])])
    intro = (
        "The base model before anything is built on it: PSNR of the frames between the first and the last of single "
        "videos, which are given, in one step, beside their linear blend."
    )
    return f"## Base model\n\n{intro}\n\n{_markdown(rows)}"


def _test(found: Findings) -> str:
    shown = [
        metric for metric in found.metrics if any(found.values[m, metric.name].value is not None for m in found.methods)
    ]
    rows = [["", *(title(metric) for metric in shown)]]
    for method in found.methods:
        rows.append([str(method), *(_cell(found.values[method, metric.name], found.grids) for metric in shown)])
    parts = [f"## Test set: {found.test}, {found.grids} grids of {found.sources} assets", _markdown(rows)]
    missing = {
        f"{title(metric)}: {found.values[method, metric.name].reason}."
        for metric in found.metrics
        if metric not in shown
        for method in found.methods[:1]
    }
    if missing:
        parts.append(
            "Unavailable, and nothing stands in for it:\n\n" + "\n".join(f"- {line}" for line in sorted(missing))
        )
    if found.claims:
        verdicts = [
            f"- {'reached' if c.reached else 'NOT reached'}: {c.text}: {c.margin:+.2f} {c.unit}".rstrip()
            for c in found.claims
        ]
        parts.append("The bar:\n\n" + "\n".join(verdicts))
    if found.gaps:
        parts.append(_gaps(found.gaps))
    return "\n\n".join(parts)


def _gaps(gaps: Sequence[Gap]) -> str:
    decided = [gap for gap in gaps if gap.better]
    rows = [["steps", "against", "metric", "difference", "p (Holm)", "better"]]
    for gap in decided:
        spread = gap.difference.interval
        limits = "" if spread is None else f" [{spread.low:+.3g}, {spread.high:+.3g}]"
        better = MAIN if gap.better == "main" else gap.other.name
        cells = [str(gap.steps), gap.other.name, title(gap.metric), f"{gap.difference.value:+.3g}{limits}"]
        rows.append([*cells, f"{gap.p_holm:.2g}", better])
    intro = (
        f"`{MAIN}` minus another, paired by grid: {len(decided)} of {len(gaps)} differences are decided "
        f"(permutation tests that exchange the two within assets, Holm's p over all of this test set); the others may "
        f"be chance. They are of the networks that were trained: how far seeds lie apart is not in p. Metrics of a "
        f"grid by itself, under which the true grids have a row, are not judged: come close to that row."
    )
    return f"{intro}\n\n{_markdown(rows)}" if decided else intro


def _parts(parts: Mapping[str, Record]) -> list[str]:
    """A table, where there are models with parts."""
    known = {arm: tests for arm, tests in parts.items() if any(tests.values())}
    rows = [
        [f"{arm}, {test}", *(number(value) for value in values.values())]
        for arm, tests in known.items()
        for test, values in tests.items()
    ]
    if not rows:
        return []
    intro = (
        "PSNR in dB of the first seed's models in one step: whole, without the convolutions behind the transformer, "
        "and with these alone over the blend of the given frames. A part that is as good alone as the whole carries it."
    )
    heads = ["", *next(values for tests in known.values() for values in tests.values())]
    return [f"## Taken apart\n\n{intro}\n\n{_markdown([heads, *rows])}"]


def _fits(config: Config, fits: Mapping[tuple[str, int], Record]) -> str:
    rows = [["arm", "architecture", "sees", "seconds of training, by seed"]]
    for name in config.arms:
        arm = ARMS[name]
        seen = [data for data, wanted in (("rendered", arm.rendered), ("pseudo-4D", arm.pseudo_4d)) if wanted]
        seconds = [f"{fits[name, seed]['wall_s']:.0f}" for seed in range(config.seeds)]
        rows.append([name, arm.architecture, " and ".join(seen), ", ".join(seconds)])
    return f"## Arms\n\n{_markdown(rows)}"


def _pictures(folder: Path) -> str:
    shown = [f"![{caption}]({name})" for name, caption in FIGURES.items() if (folder / name).exists()]
    examples = [f"![Examples: {path.stem}]({path.name})" for path in sorted(folder.glob("examples-*.png"))]
    return "## Pictures\n\n" + "\n\n".join([*shown, *examples])


def _definitions(found: Sequence[Findings]) -> str:
    lines = [f"- {title(metric)}: {metric.definition}." for metric in found[0].metrics]
    return "## Metrics\n\n" + "\n".join(lines)


def _cell(value: Value, grids: int) -> str:
    if value.value is None:
        return "-"
    spread = "" if value.interval is None else f" [{number(value.interval.low)}, {number(value.interval.high)}]"
    seeds = "" if value.seed_deviation is None else f" ±{number(value.seed_deviation)}"
    fewer = "" if value.grids == grids else f" ({value.grids})"
    return f"{number(value.value)}{seeds}{spread}{fewer}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, f"|{'---|' * len(rows[0])}", *body])


def _document(
    config: Config, found: Sequence[Findings], base: Record, fits: Mapping[tuple[str, int], Record]
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "base": base,
        "fits": [{"arm": arm, "seed": seed, **_without_curves(fit)} for (arm, seed), fit in fits.items()],
        "tests": {findings.test: _test_document(findings) for findings in found},
    }


def _without_curves(fit: Record) -> Record:
    return {name: value for name, value in fit.items() if name != "curves"}


def _test_document(found: Findings) -> dict[str, Any]:
    return {
        "scores": [
            {**_names(method), "metric": metric, **asdict(value), "seed_deviation": value.seed_deviation}
            for (method, metric), value in found.values.items()
        ],
        "differences": [
            {"steps": gap.steps, "against": gap.other.name, "metric": gap.metric.name}
            | {**asdict(gap.difference), "p_holm": gap.p_holm, "better": gap.better}
            for gap in found.gaps
        ],
        "bar": [asdict(claim) for claim in found.claims],
        "sources": found.sources,
        "definitions": {metric.name: metric.definition for metric in found.metrics},
    }


def _names(method: Method) -> dict[str, Any]:
    return {"method": method.name, "steps": method.steps or None}
