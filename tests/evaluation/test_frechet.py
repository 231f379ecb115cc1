"""Frechet distances beside closed forms and beside scipy's matrix square root; FID and the videos through a grid."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from synthetic_grids import make_grid
from tiny_weights import FEATURES, networks, write_torchscript

from fourreal.evaluation.metrics import FID, FVD, Comparison, Tally
from fourreal.evaluation.metrics.frechet import frechet_distance
from fourreal.evaluation.metrics.fvd import WAYS
from fourreal.evaluation.networks import Networks
from fourreal.evaluation.networks.frames import middle_of_video, stretched
from fourreal.evaluation.pretrained import WeightsStore


def _exact_sample(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A sample whose own mean and unbiased covariance are exactly these."""
    raw = np.random.default_rng(seed).normal(size=(count, len(mean)))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def _by_scipy(one: np.ndarray, other: np.ndarray) -> float:
    """The usual implementation."""
    a, b = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    offset = one.mean(axis=0) - other.mean(axis=0)
    return float(offset @ offset + np.trace(a) + np.trace(b) - 2 * np.trace(np.real(sqrtm(a @ b))))


def test_gaussians_along_common_axes_have_the_distance_of_the_closed_form() -> None:
    deviations = np.array([1.0, 2.0, 0.5, 3.0]), np.array([2.0, 1.0, 0.5, 1.0])
    means = np.zeros(4), np.array([1.0, 0.0, -2.0, 0.0])
    one, other = (
        _exact_sample(m, np.diag(s**2), 40, n) for n, (m, s) in enumerate(zip(means, deviations, strict=True))
    )
    expected = 5.0 + ((deviations[0] - deviations[1]) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_samples_that_share_no_axes_agree_with_scipy() -> None:
    rng = np.random.default_rng(3)
    one = rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12))
    other = rng.normal(size=(90, 12)) @ rng.normal(size=(12, 12)) + 0.7
    assert frechet_distance(one, other) == pytest.approx(_by_scipy(one, other), rel=1e-7)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-12)


def test_singular_covariances_are_exact_too() -> None:
    """Two points each: rank one, along directions u and w with a known angle."""
    u, w = np.array([3.0, 0, 0, 0, 0]), np.array([2.0, 2.0, 0, 0, 0])
    one, other = np.stack([-u, u]), np.stack([-w, w])
    # Covariances 2 u u^T and 2 w w^T: the trace of the root of their product is 2 |u . w|.
    assert frechet_distance(one, other) == pytest.approx(2 * 9 + 2 * 8 - 4 * 6, rel=1e-12)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    folder = tmp_path_factory.mktemp("weights")
    write_torchscript(folder)
    return networks(folder)


def _comparison(key: str, noise: int, V: int = 3, T: int = 9) -> Comparison:
    reference = make_grid(key, V, T, 24, 32, view_step_px=1 + int(key[1:])).frames
    rng = np.random.default_rng(int(key[1:]))
    grid = reference.copy()
    made = np.ones((V, T), bool)
    made[0, :] = made[:, 0] = False
    grid[made] = (grid[made] * 0.7 + rng.integers(0, noise + 1, grid[made].shape)).astype(np.uint8)
    return Comparison(key, grid[made], reference[made], grid=grid, reference_grid=reference, made=made)


def test_fid_is_the_distance_of_the_networks_features_merged_in_any_order(tiny: Networks) -> None:
    metric = FID(tiny)
    samples = [_comparison(f"g{n}", 60) for n in range(3)]
    scores = [metric.compute(sample) for sample in samples]
    one = functools.reduce(metric.accumulate, scores, Tally())
    random.Random(0).shuffle(scores)
    other = metric.merge(
        metric.accumulate(Tally(), scores[0]), functools.reduce(metric.accumulate, scores[1:], Tally())
    )
    assert metric.finalize(one) == metric.finalize(other)
    score = metric.finalize(one)
    assert (score.samples, score.frames, score.items, score.few) == (3, 48, 48, False)
    network = torch.jit.load(str(Path(tiny.store.storage("inception").root) / "inception-2015-12-05.pt"))
    with torch.no_grad():
        sides = [
            np.concatenate([network(stretched(getattr(s, side), 299), return_features=True).numpy() for s in samples])
            for side in ("prediction", "reference")
        ]
    assert score.value == pytest.approx(_by_scipy(*(side.astype(float) for side in sides)), rel=1e-4)
    assert list(metric.weights) == ["inception-2015-12-05.pt"]
    same = FID(tiny)
    truth = [Comparison(s.key, s.reference, s.reference) for s in samples if s.reference is not None]
    zero = same.finalize(functools.reduce(same.accumulate, (same.compute(s) for s in truth), Tally()))
    assert zero.value == pytest.approx(0.0, abs=1e-6)


def test_too_few_are_refused_with_the_number_they_need_unless_allowed(tiny: Networks) -> None:
    sample = _comparison("g0", 60)
    for allow_few in (False, True):
        metric = FVD(tiny, "fvd_time", allow_few=allow_few)
        score = metric.finalize(metric.accumulate(Tally(), metric.compute(sample)))
        assert score.items == 2  # view 0 was given whole
        assert score.few
        if allow_few:
            assert score.value is not None
            assert score.frames == 16
        else:
            assert f"2 videos a side, and the covariance of {FEATURES} features needs {FEATURES + 1}" in score.reason
    alone = FVD(tiny, "fv4d", allow_few=True)
    assert alone.finalize(alone.accumulate(Tally(), alone.compute(sample))).value is None  # one has no covariance


def test_the_ways_through_a_grid() -> None:
    assert WAYS["fvd_time"].of(2, 3) == [[(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)]]
    assert WAYS["fvd_view"].of(2, 3) == [[(0, 0), (1, 0)], [(0, 1), (1, 1)], [(0, 2), (1, 2)]]
    assert WAYS["fvd_diagonal"].of(3, 3) == [[(0, 0), (1, 1), (2, 2)]]
    assert WAYS["fvd_diagonal"].of(2, 4) == [[(0, 0), (0, 1), (1, 2), (1, 3)]]
    assert WAYS["fv4d"].of(3, 2) == [[(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1)]]


@pytest.mark.parametrize(("name", "videos"), [("fvd_time", 2), ("fvd_view", 8), ("fvd_diagonal", 1), ("fv4d", 1)])
def test_videos_with_a_generated_frame_count(name: str, videos: int, tiny: Networks) -> None:
    V, T = (9, 9) if name == "fvd_view" else (3, 9)
    features = FVD(tiny, name).compute(_comparison("g1", 60, V, T)).features
    assert features is not None
    assert features.prediction.shape == features.reference.shape == (videos, FEATURES)
    assert not np.allclose(features.prediction, features.reference)


def test_videos_too_short_for_i3d_are_said_to_be(tiny: Networks) -> None:
    assert "at least 9 frames, these have 8" in FVD(tiny, "fvd_time").compute(_comparison("g1", 9, T=8)).reason


def test_missing_weights_make_them_unavailable_with_the_command_that_mends_it(tmp_path: Path) -> None:
    nothing = Networks(WeightsStore(str(tmp_path)))
    for metric, name in ((FID(nothing), "inception"), (FVD(nothing, "fv4d"), "i3d")):
        score = metric.compute(_comparison("g0", 9))
        assert score.features is None
        assert f"`fourreal weights fetch {name}`" in score.reason
        total = metric.finalize(metric.accumulate(Tally(), score))
        assert total.value is None
        assert total.unavailable == {score.reason: 1}
        assert metric.weights == {}


def test_frames_come_to_the_networks_size_as_published() -> None:
    frame = 64 + make_grid(height=48, width=80).frames[0, 0] // 2  # Pillow's own clips where bicubic overshoots
    out = stretched(frame[None], 299)
    assert out.shape == (1, 3, 299, 299)
    green = Image.fromarray(frame[..., 1]).resize((299, 299), Image.Resampling.BICUBIC)
    assert np.abs(out[0, 1].numpy() - np.asarray(green, np.float32)).max() <= 1.2  # and rounds, twice
    video = middle_of_video(np.repeat(frame[None], 2, axis=0), 224)
    assert video.shape == (3, 2, 224, 224)
    # 48x80 becomes 224x374: 75 columns are cut off on the left, so column 0 shows source column (75 + .5) * 48 / 224.
    scale = 80 / 374
    x = (75 + 0.5) * scale - 0.5
    left, part = int(x), x - int(x)
    row = frame[0, :, 0].astype(float)
    assert video[0, 0, 0, 0].item() == pytest.approx(
        (row[left] * (1 - part) + row[left + 1] * part) / 127.5 - 1, abs=1e-4
    )
