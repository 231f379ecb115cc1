"""How sure a score is, and whether two models differ: bootstrap and permutation over grids, seeded.

Grids are what is drawn, never frames: frames of one grid are alike. A distance between sets is computed anew over each
drawn set of grids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics import Metric, SampleMetric, SampleScore, Tally

LEAST_GRIDS = 5
"""Fewer say nothing of their own spread: there is no interval and no test below."""
LEVEL = 0.95
MOST_SET_RESAMPLES = 100
"""Of a distance between sets, which takes seconds each."""

Scores = Sequence[SampleScore]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Where the value of another draw of as many grids would lie in 95 of 100 cases."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One model minus another over the grids that both have; interval and p are None below `LEAST_GRIDS`.

    p: two-sided, under the hypothesis that it does not matter which model made which of a grid's two predictions.
    """

    value: float
    grids: int
    interval: Interval | None = None
    p: float | None = None


def interval(metric: Metric, tally: Tally, resamples: int = 1000, seed: int = 0) -> Interval | None:
    """Bootstrap over the grids of `tally`; None where there are fewer than `LEAST_GRIDS`.

    Percentiles of the resampled values, moved so that their mean lies on the value: a Frechet distance over grids
    drawn twice is too large, and what matters here is how far it spreads.
    """
    scores = list(tally.answers.values())
    if len(scores) < LEAST_GRIDS:
        return None
    drawn = _draws(len(scores), _resamples(metric, resamples), seed)
    values = _over(metric, scores, drawn)
    return _spread(values, metric.value_over(scores))


def difference(metric: Metric, one: Tally, other: Tally, resamples: int = 1000, seed: int = 0) -> Difference | None:
    """`one` minus `other`, paired by grid; None where they share no grid that both have an answer for."""
    mine, theirs = one.answers, other.answers
    keys = [key for key in mine if key in theirs]
    if not keys or (not isinstance(metric, SampleMetric) and len(keys) < 2):
        return None
    a, b = [mine[key] for key in keys], [theirs[key] for key in keys]
    value = metric.value_over(a) - metric.value_over(b)
    if len(keys) < LEAST_GRIDS:
        return Difference(value, len(keys))
    drawn = _draws(len(keys), _resamples(metric, resamples), seed)
    spread = _spread(_over(metric, a, drawn) - _over(metric, b, drawn), value)
    return Difference(value, len(keys), spread, _p_value(metric, a, b, _resamples(metric, 10 * resamples), seed))


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


def _draws(count: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, count, (resamples, count))


def _over(metric: Metric, scores: Scores, drawn: npt.NDArray[np.int64]) -> Values:
    """The value over each row of `drawn`, indices into `scores` `[R, N]`, as `[R]`."""
    if isinstance(metric, SampleMetric):
        values: Values = np.array([score.value for score in scores], np.float64)[drawn].mean(axis=1)
        return values
    return np.array([metric.value_over([scores[i] for i in row]) for row in drawn])


def _spread(values: Values, centre: float) -> Interval:
    low, high = np.quantile(values - values.mean(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(centre + low), float(centre + high))


def _p_value(metric: Metric, one: Scores, other: Scores, permutations: int, seed: int) -> float:
    """Paired permutation test: within each grid the two models are exchanged at random."""
    from scipy import stats

    if isinstance(metric, SampleMetric):
        gaps = np.array([a.value for a in one], np.float64) - np.array([b.value for b in other], np.float64)
        result = stats.permutation_test(
            (gaps,),
            lambda x, axis: x.mean(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=permutations,
            rng=np.random.default_rng(seed),
        )
        return float(result.pvalue)
    observed = abs(metric.value_over(one) - metric.value_over(other))
    swaps = np.random.default_rng(seed).random((permutations, len(one))) < 0.5
    as_far = 0
    for swap in swaps:
        a = [y if s else x for x, y, s in zip(one, other, swap, strict=True)]
        b = [x if s else y for x, y, s in zip(one, other, swap, strict=True)]
        as_far += abs(metric.value_over(a) - metric.value_over(b)) >= observed * (1 - 1e-9)
    return float((1 + as_far) / (1 + permutations))
