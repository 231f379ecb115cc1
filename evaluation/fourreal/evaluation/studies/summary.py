"""From the ledger to what the study found: values with intervals, differences with tests, and whether the bar is met.

The interval of an arm is over grids, of each grid's mean over seeds; what seeds differ by stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.comparison import SIGNIFICANT
from fourreal.evaluation.metrics import Metric, Reconstruction, SampleScore, Tally
from fourreal.evaluation.significance import Difference, Interval, difference, holm, interval
from fourreal.evaluation.studies.arms import ARMS, MAIN
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.reconstructions import reconstruction_cells
from fourreal.evaluation.studies.scores import TRUE, Tallies, cell_of, metrics_of, scores_from_json


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
    """A bar, and how far what was measured lies above it."""

    text: str
    margin: float
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

    @property
    def methods(self) -> list[Method]:
        """Every row, in order."""
        return list(dict.fromkeys(method for method, _ in self.values))


def findings(config: Config, tests: Sequence[str], ledger: Ledger) -> list[Findings]:
    """What was found on each test set; every cell must be finished."""
    return [_of_test(config, test, ledger) for test in tests]


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


def _of_test(config: Config, test: str, ledger: Ledger) -> Findings:
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
            values[method, metric.name] = _value(metric, tallies, config)
    gaps = _gaps(config, metrics, merged)
    return Findings(test, metrics, values, gaps, _claims(test, values))


def _reconstructions(config: Config, test: str, ledger: Ledger) -> dict[Method, Tally]:
    found: dict[Method, Tally] = {}
    for name, cell in reconstruction_cells(config, test).items():
        method = Method(name, config.reconstruction_steps if name in ARMS else 0)
        found[method] = scores_from_json(ledger.find(cell) or {}).get(Reconstruction.name, Tally())
    return found


def _value(metric: Metric, tallies: Sequence[Tally], config: Config) -> Value:
    if not tallies:
        return Value(None, reason="not measured")
    merged = mean_over_seeds(tallies)
    score = metric.finalize(merged)
    if score.value is None:
        return Value(None, reason=score.reason)
    seeds = [metric.finalize(tally).value for tally in tallies]
    spread = interval(metric, merged, config.resamples, config.seed)
    return Value(score.value, score.samples, spread, tuple(seed for seed in seeds if seed is not None))


def _gaps(config: Config, metrics: Sequence[Metric], merged: Mapping[tuple[Method, str], Tally]) -> list[Gap]:
    """The main arm against every other arm at the same number of steps, and against every baseline."""
    found: list[tuple[int, Method, Metric, Difference]] = []
    for method, name in merged:
        if method.name in (MAIN, TRUE) or MAIN not in config.arms:
            continue
        metric = next(metric for metric in metrics if metric.name == name)
        for steps in ARMS[MAIN].steps(config.sampling_steps):
            mine = merged.get((Method(MAIN, steps), name))
            if mine is None or method.steps not in (0, steps):
                continue
            gap = difference(metric, mine, merged[method, name], config.resamples, config.seed)
            if gap is not None:
                found.append((steps, method, metric, gap))
    p_values = {str(i): gap.p for i, (*_, gap) in enumerate(found) if gap.p is not None}
    adjusted = holm(p_values)
    return [Gap(*entry, adjusted.get(str(i))) for i, entry in enumerate(found)]


def _claims(test: str, values: Mapping[tuple[Method, str], Value]) -> list[Claim]:
    """The bars of the study, as far as what was run can tell: PSNR over the whole image, in dB."""
    bars = [(1, "average", 1.5), (1, "blurred average", 0.5)] if test == "procedural" else [
        (1, "average", 0.0), (1, "blurred average", 0.0),
    ]  # fmt: skip
    if test == "procedural":
        bars.append((4, "average", 0.0))
    claims = []
    for steps, baseline, least in bars:
        assert baseline in BASELINES
        mine, theirs = (values.get((m, "psnr"), Value(None)).value for m in (Method(MAIN, steps), Method(baseline)))
        if mine is not None and theirs is not None:
            more = f" by {least:g} dB" if least else ""
            text = f"{Method(MAIN, steps)} beats the {baseline}{more} over the whole image ({test} grids)"
            claims.append(Claim(text, mine - theirs, mine - theirs > 0 and mine - theirs >= least))
    return claims
