"""Intervals and tests beside scipy's own, and beside what must come out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fourreal.evaluation.metrics import FID, PSNR, Features, SampleScore, Tally
from fourreal.evaluation.networks import Networks
from fourreal.evaluation.significance import difference, holm, interval

DISTANCE = FID(Networks(), allow_few=True)


def _means(values: np.ndarray) -> Tally:
    return Tally({f"g{i:03}": SampleScore(f"g{i:03}", float(value), 1) for i, value in enumerate(values)})


def _sets(grids: int, offset: float, seed: int, spread: float = 1.0) -> Tally:
    """Five vectors of three features a grid, `offset` away from a reference that does not depend on the seed."""
    scores = {}
    for i in range(grids):
        reference = np.random.default_rng(i).normal(size=(5, 3)).astype(np.float32)
        noise = np.random.default_rng([seed, i]).normal(0, spread, (5, 3)).astype(np.float32)
        scores[f"g{i}"] = SampleScore(f"g{i}", None, 5, features=Features(reference + offset + 0.2 * noise, reference))
    return Tally(scores)


def test_the_interval_of_a_mean_is_scipys_bootstrap() -> None:
    values = np.random.default_rng(0).gamma(2.0, 3.0, 40)
    found = interval(PSNR(), _means(values), {}, resamples=4000)
    assert found is not None
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)
    assert found == interval(PSNR(), _means(values), {}, resamples=4000), "the seed decides"
    assert interval(PSNR(), _means(values[:4]), {}) is None


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    draw = np.random.default_rng(5)
    hits = 0
    for trial in range(100):
        found = interval(PSNR(), _means(draw.normal(20, 2, 30)), {}, resamples=300, seed=trial)
        assert found is not None
        hits += found.low <= 20 <= found.high
    assert 85 <= hits <= 99


def test_the_interval_of_a_distance_lies_around_it_and_shrinks_with_more_grids() -> None:
    widths = []
    for grids in (8, 64):
        tally = _sets(grids, 0.5, seed=1)
        value = DISTANCE.finalize(tally).value
        found = interval(DISTANCE, tally, {}, resamples=60)
        assert value is not None
        assert found is not None
        assert found.low < value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < 0.7 * widths[0]


def test_few_pairs_have_the_exact_p_of_all_exchanges() -> None:
    gaps = np.array([0.4, 0.1, 0.3, -0.2, 0.5, 0.6])
    one = _means(20 + gaps)
    found = difference(PSNR(), one, _means(np.full(6, 20.0)), {})
    assert found is not None
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
    expected = (np.abs((signs * gaps).mean(axis=1)) >= abs(gaps.mean()) - 1e-12).mean()
    assert found.p == pytest.approx(expected)
    assert found.value == pytest.approx(gaps.mean())
    assert found.interval is not None
    assert found.interval.low < gaps.mean() < found.interval.high


def test_p_is_of_the_size_of_wilcoxons_and_pairing_is_used() -> None:
    base = np.random.default_rng(1).normal(20, 5, 40)
    better = base + np.random.default_rng(2).normal(0.3, 0.5, 40)
    found = difference(PSNR(), _means(better), _means(base), {})
    assert found is not None
    assert found.p is not None
    wilcoxon = stats.wilcoxon(better, base).pvalue
    assert wilcoxon / 10 < found.p < 10 * wilcoxon
    assert found.p < 0.01 < stats.ttest_ind(better, base).pvalue  # without pairing nothing is to be seen


def test_models_that_are_the_same_do_not_differ_and_sets_that_do_are_found() -> None:
    same = difference(DISTANCE, _sets(20, 0.5, seed=2), _sets(20, 0.5, seed=13), {}, resamples=60)
    other = difference(DISTANCE, _sets(20, 0.5, seed=1), _sets(20, 0.1, seed=2), {}, resamples=60)
    assert same is not None
    assert other is not None
    assert same.p is not None
    assert other.p is not None
    assert same.p > 0.05 > other.p
    assert other.value > 0
    assert other.interval is not None
    assert other.interval.low > 0
    itself = difference(DISTANCE, _sets(20, 0.5, seed=1), _sets(20, 0.5, seed=1), {}, resamples=20)
    assert itself is not None
    assert (itself.value, itself.p) == (0.0, 1.0)


def test_only_grids_that_both_have_count() -> None:
    one, other = _means(np.arange(8.0)), _means(np.arange(6.0) + 1)
    found = difference(PSNR(), one, other, {})
    assert found is not None
    assert (found.grids, found.value) == (6, -1.0)
    few = difference(PSNR(), _means(np.arange(4.0)), other, {})
    assert few is not None
    assert (few.grids, few.interval, few.p) == (4, None, None)
    assert difference(PSNR(), one, Tally({"x": SampleScore("x", 1.0, 1)}), {}) is None


def test_grids_of_one_source_count_no_more_than_one_that_is_as_large() -> None:
    """Six sources of a value each: seven grids of every one, and the interval and p stay those of six."""
    draw = np.random.default_rng(3)
    values, gaps = draw.normal(20, 2, 6), np.array([0.4, 0.1, 0.3, 0.2, 0.5, 0.6])
    many = {f"g{i:03}": f"source-{i // 7}" for i in range(42)}
    mine, theirs = np.repeat(values + gaps, 7), np.repeat(values, 7)
    spread, least = interval(PSNR(), _means(mine), many), interval(PSNR(), _means(values + gaps), {})
    assert spread is not None
    assert least is not None
    assert (spread.low, spread.high) == (pytest.approx(least.low), pytest.approx(least.high))
    found = difference(PSNR(), _means(mine), _means(theirs), many)
    few = difference(PSNR(), _means(values + gaps), _means(values), {})
    apart = difference(PSNR(), _means(mine), _means(theirs), {})
    assert found is not None
    assert few is not None
    assert apart is not None
    assert (found.grids, found.sources) == (42, 6)
    assert found.p == few.p == pytest.approx(2 / 2**6)
    assert apart.p is not None
    assert apart.p < 0.001, "which is what the grids would feign"


def test_sources_of_many_grids_weigh_more() -> None:
    values = np.array([10.0, 20.0, 30.0, 40.0, 50.0, *[60.0] * 15])
    sources = {f"g{i:03}": f"source-{min(i, 5)}" for i in range(20)}
    found = interval(PSNR(), _means(values), sources, resamples=4000)
    assert found is not None
    drawn = np.random.default_rng(1).integers(0, 6, (4000, 6))
    counts, sums = np.array([1, 1, 1, 1, 1, 15]), np.array([10, 20, 30, 40, 50, 900])
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means - means.mean(), [0.025, 0.975]) + values.mean()
    assert (found.low, found.high) == (pytest.approx(low, abs=0.5), pytest.approx(high, abs=0.5))


def test_sets_are_drawn_and_exchanged_by_source_too() -> None:
    one, other = _sets(20, 0.5, seed=1), _sets(20, 0.1, seed=2)
    sources = {f"g{i}": f"source-{i // 4}" for i in range(20)}
    found = difference(DISTANCE, one, other, sources, resamples=60)
    apart = difference(DISTANCE, one, other, {}, resamples=60)
    assert found is not None
    assert apart is not None
    assert found.sources == 5
    assert found.p is not None
    assert apart.p is not None
    assert found.p > 0.03 > apart.p  # of five exchanges, two in 32 are as far
    assert difference(DISTANCE, one, other, dict.fromkeys(sources, "one"), resamples=60).interval is None


def test_holm_steps_down_and_never_lets_a_later_one_pass() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}
