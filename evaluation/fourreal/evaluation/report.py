"""What a person reads of a scoreboard: a table and the sentences that belong under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fourreal.evaluation.baselines import BLUR_SIGMA_OF_WIDTH
from fourreal.evaluation.grid_scores import METHODS, MODEL
from fourreal.evaluation.metrics import Metric, Score
from fourreal.evaluation.metrics.frechet import FrechetDistance
from fourreal.evaluation.protocol import Protocol
from fourreal.evaluation.scoring import Scoreboard
from fourreal.evaluation.significance import LEAST_SOURCES, MOST_SET_RESAMPLES, Interval

FEW = "†"
"""Marks a distance between sets of fewer items than it needs."""

Intervals = Mapping[tuple[str, str], Interval | None]
"""By (method, metric)."""


def table(board: Scoreboard) -> str:
    """Methods by metrics as aligned text, the best of each column marked with `*`, with the caption below."""
    scores = {(m, metric.name): board.score(m, metric) for m in METHODS for metric in board.metrics}
    best = {metric.name: _best(metric, [scores[m, metric.name] for m in METHODS]) for metric in board.metrics}
    rows = [["", *(title(metric) for metric in board.metrics), "N"]]
    for method in METHODS:
        cells = [_cell(scores[method, x.name], best[x.name], board.grids) for x in board.metrics]
        rows.append([method, *cells, str(board.grids)])
    return aligned(rows) + "\n\n" + "\n".join(caption(board)) + "\n"


def protocol_table(protocol: Protocol, board: Scoreboard, intervals: Intervals) -> str:
    """The board in the layout of the paper's table, with the paper's own rows below, marked as published."""
    metrics = {metric.name: metric for metric in board.metrics}
    rows = [["", *(column.title for column in protocol.columns), "N"]]
    for method in METHODS:
        cells = [
            " / ".join(_with_interval(board.score(method, metrics[name]), intervals.get((method, name))) for name in c)
            for c in (column.metrics for column in protocol.columns)
        ]
        rows.append([method, *cells, str(board.grids)])
    rows += [
        [f"{name} (published)", *(cell or "-" for cell in cells), "?"] for name, cells in protocol.published.items()
    ]
    lines = [
        f"Protocol {protocol.name}, after {protocol.source}. Frames: {protocol.frames}.",
        f"[low, high]: 95 % by bootstrap over sources (none below {LEAST_SOURCES}); of FID and FVD for the model "
        f"alone, over at most {MOST_SET_RESAMPLES} drawn sets, around the value.",
        "Published rows are the paper's own numbers on its own data: they show the scale, no comparison.",
        *protocol.notes,
    ]
    if any(board.score(MODEL, metric).few for metric in metrics.values()):
        lines.append(f"{FEW} of fewer items than the features need: no such number is comparable.")
    if deviations := protocol.deviations(board):
        lines.append(f"NOT THE PROTOCOL: {'; '.join(deviations)}.")
    return aligned(rows) + "\n\n" + "\n".join(lines) + "\n"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of text: the first flush left, the others right, a rule under the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def caption(board: Scoreboard) -> list[str]:
    """The sentences without which the numbers mean nothing."""
    model = ", ".join(name[:12] for name in sorted(board.models))
    lines = [
        f"N = {board.grids} grids of {board.source_count} sources, {board.frames} generated frames (given frames do "
        f"not count) at {_listed(board.resolutions)}, {_listed(board.fps)} fps; model {model}, "
        f"{_listed(board.sampling)}.",
        "Mean over grids ± its standard error; * is the best of its column.",
        *_sets(board),
    ]
    if board.fits:
        lines.append(f"References (INTER_AREA): {_listed(board.fits)}, as the conditions were.")
    lines += [f"{title(metric)}: {metric.definition}." for metric in board.metrics]
    lines += _weights(board)
    lines.append(f"blurred average: sigma = width * {BLUR_SIGMA_OF_WIDTH:g} pixels.")
    reasons = {
        f"{title(metric)} is unavailable for {count} of {board.grids} grids: {reason}."
        for metric in board.metrics
        for method in METHODS
        for reason, count in board.score(method, metric).unavailable.items()
    }
    lines += sorted(reasons)
    if board.not_compared:
        lines.append(f"NOT COMPARED, {len(board.not_compared)} grids:")
        lines += [f"  {key}: {reason}" for key, reason in sorted(board.not_compared.items())]
    return lines


def title(metric: Metric) -> str:
    """The head of a metric's column: `PSNR foreground dB`."""
    name, _, part = metric.name.partition("_")
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{name.upper()}{f' {part}' if part else ''}{unit}"


def number(value: float) -> str:
    """With as many digits as are read."""
    return f"{value:.{2 if abs(value) >= 2 else 3}f}"


def _sets(board: Scoreboard) -> list[str]:
    """What a distance between sets was computed over, and which of them are not to be trusted."""
    sets = {metric: board.score(MODEL, metric) for metric in board.metrics if isinstance(metric, FrechetDistance)}
    counted = {metric: score for metric, score in sets.items() if score.value is not None}
    lines = [
        f"{title(metric)} is one value for all grids: {score.items} {metric.items} a side."
        for metric, score in counted.items()
    ]
    if any(score.few for score in counted.values()):
        lines.append(
            f"{FEW} fewer than the features need: the value depends on their number and compares with no published one."
        )
    return lines


def _weights(board: Scoreboard) -> list[str]:
    files = sorted({(name, digest) for weights in board.weights.values() for name, digest in weights.items()})
    return [f"Weights, sha256: {', '.join(f'{name} {digest[:12]}' for name, digest in files)}."] if files else []


def _best(metric: Metric, scores: Iterable[Score]) -> float | None:
    values = [score.value for score in scores if score.value is not None]
    if not values:
        return None
    if metric.ideal is not None:
        ideal = metric.ideal
        return min(values, key=lambda value: abs(value - ideal))
    return max(values) if metric.higher_is_better else min(values)


def _cell(score: Score, best: float | None, grids: int) -> str:
    if score.value is None:
        return "unavailable "
    digits = 2 if abs(score.value) >= 2 else 3
    error = "" if score.standard_error is None else f" ±{score.standard_error:.{digits}f}"
    fewer = f" (N {score.samples})" if score.samples != grids else ""
    few = FEW if score.few else ""
    return f"{number(score.value)}{few}{error}{fewer}{'*' if score.value == best else ' '}"


def _with_interval(score: Score, interval: Interval | None) -> str:
    if score.value is None:
        return "unavailable"
    spread = "" if interval is None else f" [{number(interval.low)}, {number(interval.high)}]"
    return f"{number(score.value)}{FEW if score.few else ''}{spread}"


def _listed(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
