"""Two or more models on the same grids: values side by side, and for each pair what differs beyond chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.grid_scores import MODEL
from fourreal.evaluation.metrics import Metric, SampleMetric
from fourreal.evaluation.report import FEW, aligned, number, title
from fourreal.evaluation.scoring import Scoreboard
from fourreal.evaluation.significance import LEAST_SOURCES, LEVEL, MOST_SET_RESAMPLES, Difference, difference, holm

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Contest:
    """`one` minus `other` under a metric; difference is None where they share no grid with a value."""

    one: str
    other: str
    metric: Metric
    difference: Difference | None
    p_holm: float | None = None
    """p that holds for all contests of the table together; None without a test."""

    @property
    def better(self) -> str:
        """The name of the better one, "" where the difference may be chance or nobody can tell better from worse."""
        found = self.difference
        if found is None or self.p_holm is None or self.p_holm >= SIGNIFICANT or self.metric.ideal is not None:
            return ""
        return self.one if (found.value > 0) == self.metric.higher_is_better else self.other

    def record(self) -> dict[str, Any]:
        """As JSON."""
        found = None if self.difference is None else asdict(self.difference)
        names = {"one": self.one, "other": self.other, "metric": self.metric.name}
        return {**names, "difference": found, "p_holm": self.p_holm, "better": self.better}


def contests(boards: Mapping[str, Scoreboard], resamples: int, seed: int) -> list[Contest]:
    """Every pair of models under every metric; the boards are of the same metrics."""
    found: list[Contest] = []
    for one, other in combinations(boards, 2):
        for metric in boards[one].metrics:
            mine, theirs = (boards[name].tallies[MODEL, metric.name] for name in (one, other))
            refused = any(boards[name].score(MODEL, metric).value is None for name in (one, other))
            sources = boards[one].sources  # of the same references
            gap = None if refused else difference(metric, mine, theirs, sources, resamples, seed)
            found.append(Contest(one, other, metric, gap))
    p_values = {str(i): c.difference.p for i, c in enumerate(found) if c.difference and c.difference.p is not None}
    adjusted = holm(p_values)
    return [Contest(c.one, c.other, c.metric, c.difference, adjusted.get(str(i))) for i, c in enumerate(found)]


def comparison_text(boards: Mapping[str, Scoreboard], found: Sequence[Contest], left_out: Mapping[str, str]) -> str:
    """Both tables with the sentences below them; left_out: grids that not all models have, with the reason."""
    first = next(iter(boards.values()))
    values = [["", *(title(metric) for metric in first.metrics), "N"]]
    lines_of = [(name, board, MODEL) for name, board in boards.items()]
    lines_of += [(name, first, name) for name in BASELINES]
    for name, board, method in lines_of:
        values.append([name, *(_value(board, method, metric) for metric in first.metrics), str(board.grids)])
    differences = [["", "metric", "difference", "95 %", "N", "p", "p (Holm)", "better"]]
    differences += [_line(contest) for contest in found]
    lines = [
        f"{name}: model {', '.join(digest[:12] for digest in sorted(board.models))}, "
        f"{', '.join(sorted(board.sampling))}."
        for name, board in boards.items()
    ]
    lines += [f"{title(metric)}: {metric.definition}." for metric in first.metrics]
    lines += [
        f"Differences are paired by grid. {LEVEL:.0%} intervals by bootstrap over sources (assets or videos with all "
        f"of their grids, {first.source_count} here); p by exchanging the two models within sources at random (both "
        f"over at most {MOST_SET_RESAMPLES} sets for FID and FVD); none below {LEAST_SOURCES} sources.",
        f"{len([c for c in found if c.p_holm is not None])} tests stand in this table, so that some p fall below "
        f"{SIGNIFICANT:g} by chance: `better` goes by Holm's p, which holds for all of them together.",
    ]
    lines += sorted(
        {
            f"{title(metric)} is unavailable for {count} of {board.grids} grids: {reason}."
            for board in boards.values()
            for metric in first.metrics
            for reason, count in board.score(MODEL, metric).unavailable.items()
        }
    )
    if any(board.score(MODEL, metric).few for board in boards.values() for metric in first.metrics):
        lines.append(f"{FEW} of fewer items than the features need: no such number is comparable with a published one.")
    if left_out:
        lines.append(f"NOT COMPARED, {len(left_out)} grids:")
        lines += [f"  {key}: {reason}" for key, reason in sorted(left_out.items())]
    return "\n".join([aligned(values), "", aligned(differences), "", *lines]) + "\n"


def _value(board: Scoreboard, method: str, metric: Metric) -> str:
    score = board.score(method, metric)
    if score.value is None:
        return "unavailable"
    return f"{number(score.value)}{FEW if score.few else ''}"


def _line(contest: Contest) -> list[str]:
    head = [f"{contest.one} - {contest.other}", title(contest.metric)]
    found = contest.difference
    if found is None:
        return [*head, "unavailable", "", "", "", "", ""]
    spread = "" if found.interval is None else f"[{found.interval.low:+.3g}, {found.interval.high:+.3g}]"
    kind = "" if isinstance(contest.metric, SampleMetric) else " (sets)"
    p, p_holm = (("" if p is None else f"{p:.2g}") for p in (found.p, contest.p_holm))
    return [*head, f"{found.value:+.3g}", spread, f"{found.grids}{kind}", p, p_holm, contest.better]
