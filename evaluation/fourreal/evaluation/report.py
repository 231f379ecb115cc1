"""What a person reads of a scoreboard: a table and the sentences that belong under it."""

from __future__ import annotations

from collections.abc import Iterable

from fourreal.evaluation.baselines import BLUR_SIGMA_OF_WIDTH
from fourreal.evaluation.metrics import Metric, Score
from fourreal.evaluation.metrics.frechet import FrechetDistance
from fourreal.evaluation.scoring import METHODS, MODEL, Scoreboard

FEW = "†"
"""Marks a distance between sets of fewer items than it needs."""


def table(board: Scoreboard) -> str:
    """Methods by metrics as aligned text, the best of each column marked with `*`, with the caption below."""
    head = ["", *(_title(metric) for metric in board.metrics), "N"]
    scores = {(m, metric.name): board.score(m, metric) for m in METHODS for metric in board.metrics}
    best = {metric.name: _best(metric, [scores[m, metric.name] for m in METHODS]) for metric in board.metrics}
    rows = [head]
    for method in METHODS:
        cells = [_cell(scores[method, x.name], best[x.name], board.grids) for x in board.metrics]
        rows.append([method, *cells, str(board.grids)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines) + "\n\n" + "\n".join(caption(board)) + "\n"


def caption(board: Scoreboard) -> list[str]:
    """The sentences without which the numbers mean nothing."""
    model = ", ".join(name[:12] for name in sorted(board.models))
    lines = [
        f"N = {board.grids} grids, {board.frames} generated frames (given frames do not count) at "
        f"{_listed(board.resolutions)}, {_listed(board.fps)} fps; model {model}, {_listed(board.sampling)}.",
        "Mean over grids ± its standard error; * is the best of its column.",
        *_sets(board),
    ]
    if board.fits:
        lines.append(f"References (INTER_AREA): {_listed(board.fits)}, as the conditions were.")
    lines += [f"{_title(metric)}: {metric.definition}." for metric in board.metrics]
    lines += _weights(board)
    lines.append(f"blurred average: sigma = width * {BLUR_SIGMA_OF_WIDTH:g} pixels.")
    reasons = {
        f"{_title(metric)} is unavailable for {count} of {board.grids} grids: {reason}."
        for metric in board.metrics
        for method in METHODS
        for reason, count in board.score(method, metric).unavailable.items()
    }
    lines += sorted(reasons)
    if board.not_compared:
        lines.append(f"NOT COMPARED, {len(board.not_compared)} grids:")
        lines += [f"  {key}: {reason}" for key, reason in sorted(board.not_compared.items())]
    return lines


def _sets(board: Scoreboard) -> list[str]:
    """What a distance between sets was computed over, and which of them are not to be trusted."""
    sets = {metric: board.score(MODEL, metric) for metric in board.metrics if isinstance(metric, FrechetDistance)}
    counted = {metric: score for metric, score in sets.items() if score.value is not None}
    lines = [
        f"{_title(metric)} is one value for all grids: {score.items} {metric.items} a side."
        for metric, score in counted.items()
    ]
    if any(score.few for score in counted.values()):
        lines.append(
            f"{FEW} fewer than the features need: the value depends on their number and compares with no published one."
        )
    return lines


def _weights(board: Scoreboard) -> list[str]:
    files = {name: digest for metric in board.metrics for name, digest in metric.weights.items()}
    return [f"Weights, sha256: {', '.join(f'{name} {d[:12]}' for name, d in sorted(files.items()))}."] if files else []


def _title(metric: Metric) -> str:
    name, _, part = metric.name.partition("_")
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{name.upper()}{f' {part}' if part else ''}{unit}"


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
    return f"{score.value:.{digits}f}{few}{error}{fewer}{'*' if score.value == best else ' '}"


def _listed(counts: dict[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
