"""From the ledger to what the study found: values with intervals, differences with tests, and whether the bar is met.

The interval of an arm is over sources, of each grid's mean over seeds; what seeds differ by stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fourreal.evaluation.comparison import SIGNIFICANT
from fourreal.evaluation.metrics import Metric, Reconstruction, SampleScore, Tally
from fourreal.evaluation.significance import Difference, Interval, Sources, difference, holm, interval
from fourreal.evaluation.studies.arms import ARMS, MAIN
from fourreal.evaluation.studies.bars import BARS
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.reconstructions import reconstruction_cells
from fourreal.evaluation.studies.scores import TRUE, Tallies, cell_of, metrics_of, scores_from_json

_WHERE = {"psnr": "over the whole image", "psnr_foreground": "over the foreground"}
"""How a bar says what it is about."""


@dataclass(frozen=True, order=True)
class Method:
    """A row: an arm at so many steps, or (steps 0) a baseline."""

    name: str
    steps: int = 0

    def __str__(self) -> str:
        return self.name if not self.steps else f"{self.name}, {self.steps} step{'s' if self.steps > 1 else ''}"


@dataclass(frozen=True)
class Value:
    """A method under a metric; `reason` says why there is no value, `seeds` are the means of each seed."""

    value: float | None
    grids: int = 0
    interval: Interval | None = None
    seeds: tuple[float, ...] = ()
    reason: str = ""

    @property
    def seed_deviation(self) -> float | None:
        """Standard deviation of the seeds' means; None below two."""
        if len(self.seeds) < 2:
            return None
        mean = math.fsum(self.seeds) / len(self.seeds)
        return math.sqrt(math.fsum((seed - mean) ** 2 for seed in self.seeds) / (len(self.seeds) - 1))


@dataclass(frozen=True)
class Gap:
    """The main arm minus another method, paired by grid; p holds for all gaps of its test set together."""

    steps: int
    other: Method
    metric: Metric
    difference: Difference
    p_holm: float | None

    @property
    def better(self) -> str:
        """ "main", "other", or "" where chance may explain it or nobody can tell better from worse."""
        if self.p_holm is None or self.p_holm >= SIGNIFICANT or self.metric.ideal is not None:
            return ""
        return "main" if (self.difference.value > 0) == self.metric.higher_is_better else "other"


@dataclass(frozen=True)
class Claim:
    """A bar, and how far what was measured lies beyond the baseline."""

    text: str
    margin: float
    unit: str
    reached: bool


@dataclass(frozen=True)
class Findings:
    """What the study found on one test set."""

    test: str
    metrics: Sequence[Metric]
    values: Mapping[tuple[Method, str], Value]
    """By method and metric."""
    gaps: Sequence[Gap]
    claims: Sequence[Claim]
    sources: int
    """What its grids were made of: so many assets."""

    @property
    def grids(self) -> int:
        """Of the test set, as far as they were scored at all."""
        return max(value.grids for value in self.values.values())

    @property
    def methods(self) -> list[Method]:
        """Every row, in order."""
        return list(dict.fromkeys(method for method, _ in self.values))


def findings(config: Config, sources: Mapping[str, Sources], ledger: Ledger) -> list[Findings]:
    """What was found on each test set, by name in `sources`; every cell must be finished."""
    return [_of_test(config, test, found, ledger) for test, found in sources.items()]


def mean_over_seeds(tallies: Sequence[Tally]) -> Tally:
    """Each grid's mean over the seeds; a grid without a value in one of them has that one's reason."""
    merged: dict[str, SampleScore] = {}
    for key in tallies[0].scores:
        scores = [tally.scores[key] for tally in tallies]
        values = [score.value for score in scores if score.value is not None]
        if len(values) == len(scores):
            merged[key] = SampleScore(key, math.fsum(values) / len(values), sum(score.frames for score in scores))
        else:
            merged[key] = next(score for score in scores if score.value is None)
    return Tally(merged)


def _of_test(config: Config, test: str, sources: Sources, ledger: Ledger) -> Findings:
    metrics = (*metrics_of(config), Reconstruction())
    by_seed: dict[Method, list[Tallies]] = {}
    for arm in config.arms:
        for steps in ARMS[arm].steps(config.sampling_steps):
            cells = [ledger.find(cell_of(arm, seed, test, steps)) for seed in range(config.seeds)]
            by_seed[Method(arm, steps)] = [scores_from_json(cell or {}) for cell in cells]
    for name, record in (ledger.find(f"baselines/{test}") or {}).items():
        by_seed[Method(name)] = [scores_from_json(record)]
    reconstructed = _reconstructions(config, test, ledger)
    values: dict[tuple[Method, str], Value] = {}
    merged: dict[tuple[Method, str], Tally] = {}
    for method, seeds in by_seed.items():
        for metric in metrics:
            tallies = [seed[metric.name] for seed in seeds if metric.name in seed]
            if metric.name == Reconstruction.name:
                tallies = [reconstructed[method]] if method in reconstructed else []
            if tallies:
                merged[method, metric.name] = mean_over_seeds(tallies)
            values[method, metric.name] = _value(metric, tallies, sources, config)
    gaps = _gaps(config, metrics, merged, sources)
    claims = _claims(config, test, merged, metrics)
    return Findings(test, metrics, values, gaps, claims, len(set(sources.values())))


def _reconstructions(config: Config, test: str, ledger: Ledger) -> dict[Method, Tally]:
    found: dict[Method, Tally] = {}
    for name, cell in reconstruction_cells(config, test).items():
        method = Method(name, config.reconstruction_steps if name in ARMS else 0)
        found[method] = scores_from_json(ledger.find(cell) or {}).get(Reconstruction.name, Tally())
    return found


def _value(metric: Metric, tallies: Sequence[Tally], sources: Sources, config: Config) -> Value:
    if not tallies:
        return Value(None, reason="not measured")
    merged = mean_over_seeds(tallies)
    score = metric.finalize(merged)
    if score.value is None:
        return Value(None, reason=score.reason)
    seeds = [metric.finalize(tally).value for tally in tallies]
    spread = interval(metric, merged, sources, config.resamples, config.seed)
    return Value(score.value, score.samples, spread, tuple(seed for seed in seeds if seed is not None))


def _gaps(
    config: Config, metrics: Sequence[Metric], merged: Mapping[tuple[Method, str], Tally], sources: Sources
) -> list[Gap]:
    """The main arm against every other arm at the same number of steps, and against every baseline.

    Not under metrics of a grid by itself, which the true grids have a row of: these are not the best of it (a copy
    flickers less), so that more or less of it is neither better nor worse.
    """
    found: list[tuple[int, Method, Metric, Difference]] = []
    for method, name in merged:
        if method.name == MAIN or MAIN not in config.arms or (Method(TRUE), name) in merged:
            continue
        metric = next(metric for metric in metrics if metric.name == name)
        for steps in ARMS[MAIN].steps(config.sampling_steps):
            mine = merged.get((Method(MAIN, steps), name))
            if mine is None or method.steps not in (0, steps):
                continue
            gap = difference(metric, mine, merged[method, name], sources, config.resamples, config.seed)
            if gap is not None:
                found.append((steps, method, metric, gap))
    p_values = {str(i): gap.p for i, (*_, gap) in enumerate(found) if gap.p is not None}
    adjusted = holm(p_values)
    return [Gap(*entry, adjusted.get(str(i))) for i, entry in enumerate(found)]


def _claims(
    config: Config, test: str, merged: Mapping[tuple[Method, str], Tally], metrics: Sequence[Metric]
) -> list[Claim]:
    """The bars of the study, as far as what was run can tell: over grids of which both have a value."""
    by_name = {metric.name: metric for metric in metrics}
    claims = []
    for bar in BARS[config.bar]:
        pair = Method(MAIN, bar.steps), Method(bar.baseline)
        mine, theirs = (_valued(merged.get((method, bar.metric), Tally())) for method in pair)
        if bar.test == test and (common := sorted(mine.keys() & theirs.keys())):
            metric = by_name[bar.metric]
            margin = metric.value_over([mine[key] for key in common])
            margin -= metric.value_over([theirs[key] for key in common])
            margin = margin if metric.higher_is_better else -margin
            more = f" by {bar.least:g} {metric.unit}" if bar.least else ""
            where = _WHERE.get(bar.metric, f"in {bar.metric}")
            text = f"{pair[0]} beats the {bar.baseline}{more} {where} ({test} grids)"
            claims.append(Claim(text, margin, metric.unit, margin > 0 and margin >= bar.least))
    return claims


def _valued(tally: Tally) -> dict[str, SampleScore]:
    return {key: score for key, score in tally.scores.items() if score.value is not None}
