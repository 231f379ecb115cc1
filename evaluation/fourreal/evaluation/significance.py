"""How sure a score is, and whether two models differ: bootstrap and permutation over sources, seeded.

A source is what grids were made of, an asset or a video. Sources are drawn, with all of their grids, never grids or
frames: those of one source are alike, and drawn apart they would pass for more than was seen (the cluster bootstrap,
Field and Welsh 2007). A distance between sets is computed anew over each drawn set of grids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics import Metric, SampleMetric, SampleScore, Tally

LEAST_SOURCES = 5
"""Fewer say nothing of their own spread: there is no interval and no test below."""
LEVEL = 0.95
MOST_SET_RESAMPLES = 100
"""Of a distance between sets, which takes seconds each."""

Scores = Sequence[SampleScore]
Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Sources = Mapping[str, str]
"""By grid key; a grid that is not there is a source of its own."""


@dataclass(frozen=True)
class Interval:
    """Where the value of another draw of as many sources would lie in 95 of 100 cases."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One model minus another over the grids that both have; interval and p are None below `LEAST_SOURCES`.

    p: two-sided, under the hypothesis that it does not matter which model made which of a source's two predictions.
    """

    value: float
    grids: int
    sources: int
    interval: Interval | None = None
    p: float | None = None


def interval(metric: Metric, tally: Tally, sources: Sources, resamples: int = 1000, seed: int = 0) -> Interval | None:
    """Bootstrap over the sources of the grids of `tally`; None where there are fewer than `LEAST_SOURCES`.

    Percentiles of the resampled values, moved so that their mean lies on the value: a Frechet distance over grids
    drawn twice is too large, and what matters here is how far it spreads.
    """
    scores = list(tally.answers.values())
    members = _members([score.key for score in scores], sources)
    if len(members) < LEAST_SOURCES:
        return None
    drawn = _draws(len(members), _resamples(metric, resamples), seed)
    return _spread(_over(metric, scores, members, drawn), metric.value_over(scores))


def difference(
    metric: Metric, one: Tally, other: Tally, sources: Sources, resamples: int = 1000, seed: int = 0
) -> Difference | None:
    """`one` minus `other`, paired by grid; None where they share no grid that both have an answer for."""
    mine, theirs = one.answers, other.answers
    keys = [key for key in mine if key in theirs]
    if not keys or (not isinstance(metric, SampleMetric) and len(keys) < 2):
        return None
    a, b = [mine[key] for key in keys], [theirs[key] for key in keys]
    value = metric.value_over(a) - metric.value_over(b)
    members = _members(keys, sources)
    if len(members) < LEAST_SOURCES:
        return Difference(value, len(keys), len(members))
    drawn = _draws(len(members), _resamples(metric, resamples), seed)
    spread = _spread(_over(metric, a, members, drawn) - _over(metric, b, members, drawn), value)
    p = _p_value(metric, a, b, members, _resamples(metric, 10 * resamples), seed)
    return Difference(value, len(keys), len(members), spread, p)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values that hold for all of these comparisons together (Holm 1979): none is below its own."""
    adjusted: dict[str, float] = {}
    least = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = least
    return adjusted


def _resamples(metric: Metric, asked: int) -> int:
    return asked if isinstance(metric, SampleMetric) else min(asked, MOST_SET_RESAMPLES)


def _members(keys: Sequence[str], sources: Sources) -> list[Indices]:
    """For each source, which of the keys are its own."""
    found: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(sources.get(key, key), []).append(place)
    return [np.array(places) for places in found.values()]


def _draws(count: int, resamples: int, seed: int) -> Indices:
    return np.random.default_rng(seed).integers(0, count, (resamples, count))


def _over(metric: Metric, scores: Scores, members: Sequence[Indices], drawn: Indices) -> Values:
    """The value over the grids of each row of `drawn`, indices into `members` `[R, sources]`, as `[R]`."""
    if isinstance(metric, SampleMetric):
        sums, counts = _sums(_values(scores), members), np.array([len(places) for places in members])
        values: Values = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
        return values
    rows = (np.concatenate([members[source] for source in row]) for row in drawn)
    return np.array([metric.value_over([scores[i] for i in row]) for row in rows])


def _values(scores: Scores) -> Values:
    return np.array([score.value for score in scores], np.float64)


def _sums(values: Values, members: Sequence[Indices]) -> Values:
    return np.array([values[places].sum() for places in members])


def _spread(values: Values, centre: float) -> Interval:
    low, high = np.quantile(values - values.mean(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(centre + low), float(centre + high))


def _p_value(
    metric: Metric, one: Scores, other: Scores, members: Sequence[Indices], permutations: int, seed: int
) -> float:
    """Paired permutation test: within each source the two models are exchanged at random."""
    from scipy import stats

    if isinstance(metric, SampleMetric):
        result = stats.permutation_test(
            (_sums(_values(one) - _values(other), members),),
            lambda x, axis: x.sum(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=permutations,
            rng=np.random.default_rng(seed),
        )
        return float(result.pvalue)
    observed = abs(metric.value_over(one) - metric.value_over(other))
    of_grid = np.empty(len(one), np.int64)
    for source, places in enumerate(members):
        of_grid[places] = source
    swaps = (np.random.default_rng(seed).random((permutations, len(members))) < 0.5)[:, of_grid]
    as_far = 0
    for swap in swaps:
        a = [y if s else x for x, y, s in zip(one, other, swap, strict=True)]
        b = [x if s else y for x, y, s in zip(one, other, swap, strict=True)]
        as_far += abs(metric.value_over(a) - metric.value_over(b)) >= observed * (1 - 1e-9)
    return float((1 + as_far) / (1 + permutations))
