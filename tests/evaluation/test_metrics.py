from __future__ import annotations

import functools
import math
import random

import numpy as np
import pytest

from fourreal.evaluation.metrics import PSNR, SSIM, STANDARD, Comparison, Metric, SampleScore, Tally, choose_metrics
from fourreal.evaluation.metrics.ssim import ssim_map


def _noisy_pair(seed: int = 0, n: int = 3, height: int = 20, width: int = 26) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = np.stack([128 + 90 * np.sin((x * k + y) / 5) for k in range(1, 4)], axis=-1)
    reference = np.stack([base + rng.normal(0, 5, base.shape) for _ in range(n)]).clip(0, 255).astype(np.uint8)
    prediction = (reference + rng.normal(0, 25, reference.shape)).clip(0, 255).astype(np.uint8)
    return prediction, reference


def _mask(n: int = 3, height: int = 20, width: int = 26) -> np.ndarray:
    mask = np.zeros((n, height, width), np.uint8)
    mask[:, 2:9, 1:12] = 255
    mask[:, 9, 1:12] = 127  # just under the threshold: background
    return mask


def _slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004 by its formulas: every 11x11 window inside the image, one by one."""
    offsets = np.arange(11) - 5
    gauss = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    weights = gauss / gauss.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for channel in range(3):
        for top in range(a.shape[0] - 10):
            for left in range(a.shape[1] - 10):
                p = a[top : top + 11, left : left + 11, channel].astype(float)
                q = b[top : top + 11, left : left + 11, channel].astype(float)
                mp, mq = (weights * p).sum(), (weights * q).sum()
                vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
                cov = (weights * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_ssim_agrees_with_the_formulas_of_the_paper() -> None:
    prediction, reference = _noisy_pair()
    expected = np.mean([_slow_ssim(p, r) for p, r in zip(prediction, reference, strict=True)])
    score = SSIM().compute(Comparison("k", prediction, reference))
    assert score.value == pytest.approx(expected, abs=1e-9)
    assert score.frames == 3


def test_psnr_and_ssim_agree_with_torchmetrics() -> None:
    """An implementation that is not ours; its mean has the border in it, so that its map is compared inside."""
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.image")
    prediction, reference = _noisy_pair(height=40, width=52)
    sides = [torch.from_numpy(frames).permute(0, 3, 1, 2).double() for frames in (prediction, reference)]
    _, full = functional.structural_similarity_index_measure(*sides, data_range=255.0, return_full_image=True)
    ssim = full[..., 5:-5, 5:-5].mean()
    assert SSIM().compute(Comparison("k", prediction, reference)).value == pytest.approx(ssim.item(), abs=1e-6)
    psnr = functional.peak_signal_noise_ratio(*sides, data_range=255.0, dim=(1, 2, 3), reduction="elementwise_mean")
    assert PSNR().compute(Comparison("k", prediction, reference)).value == pytest.approx(psnr.item(), abs=1e-5)


def test_ssim_of_equal_images_is_one_and_of_a_negative_is_far_below() -> None:
    _, reference = _noisy_pair()
    assert SSIM().compute(Comparison("k", reference, reference)).value == pytest.approx(1.0)
    negative = SSIM().compute(Comparison("k", 255 - reference, reference)).value
    assert negative is not None
    assert negative < 0


def test_foreground_ssim_is_the_mean_of_the_map_over_the_mask() -> None:
    prediction, reference = _noisy_pair()
    mask = _mask()
    score = SSIM(foreground=True).compute(Comparison("k", prediction, reference, mask))
    maps = [ssim_map(p, r) for p, r in zip(prediction, reference, strict=True)]
    expected = np.mean([m[2:9, 1:12].mean() for m in maps])
    assert score.value == pytest.approx(expected)


def test_psnr_is_the_mean_of_each_frames_psnr() -> None:
    reference = np.full((2, 8, 8, 3), 100, np.uint8)
    prediction = reference.copy()
    prediction[0] += 10  # MSE 100: 28.13 dB
    prediction[1] += 1  # MSE 1: 48.13 dB
    score = PSNR().compute(Comparison("k", prediction, reference))
    assert score.value == pytest.approx((20 * math.log10(25.5) + 20 * math.log10(255)) / 2)


def test_psnr_of_equal_frames_is_finite() -> None:
    reference = np.zeros((1, 8, 8, 3), np.uint8)
    value = PSNR().compute(Comparison("k", reference, reference)).value
    assert value == pytest.approx(58.92, abs=0.01)


def test_foreground_psnr_sees_only_the_mask_and_skips_frames_without_any() -> None:
    reference = np.full((3, 20, 26, 3), 100, np.uint8)
    prediction = reference + 50
    mask = _mask()
    prediction[:, 2:9, 1:12] = 105
    mask[2] = 0
    score = PSNR(foreground=True).compute(Comparison("k", prediction, reference, mask))
    assert score.value == pytest.approx(20 * math.log10(255 / 5))
    assert score.frames == 2


@pytest.mark.parametrize(
    ("metric", "mask", "reason"),
    [
        (PSNR(foreground=True), None, "no mask"),
        (SSIM(foreground=True), None, "no mask"),
        (PSNR(foreground=True), np.zeros((3, 20, 26), np.uint8), "no generated frame has a foreground pixel"),
        (SSIM(foreground=True), np.zeros((3, 20, 26), np.uint8), "no generated frame has a foreground pixel"),
    ],
)
def test_a_metric_that_lacks_what_it_needs_says_so(metric: Metric, mask: np.ndarray | None, reason: str) -> None:
    score = metric.compute(Comparison("k", *_noisy_pair(), mask))
    assert score.value is None
    assert reason in score.reason
    total = metric.finalize(metric.accumulate(Tally(), score))
    assert total.value is None
    assert reason in total.reason


def test_every_metric_is_unavailable_without_a_reference() -> None:
    for metric in choose_metrics(STANDARD):
        score = metric.compute(Comparison("k", _noisy_pair()[0]))
        assert score.value is None
        assert score.reason


def test_ssim_of_frames_smaller_than_its_window_is_unavailable() -> None:
    tiny = np.zeros((1, 10, 30, 3), np.uint8)
    assert "smaller than the 11x11 window" in SSIM().compute(Comparison("k", tiny, tiny)).reason


def test_merging_in_any_order_gives_the_same_score_to_the_last_bit() -> None:
    metric = PSNR()
    rng = np.random.default_rng(0)
    scores = [SampleScore(f"g{i}", float(rng.normal(20, 5)), 3) for i in range(50)]
    scores.append(SampleScore("without", None, reason="the reference has no mask"))
    one = functools.reduce(metric.accumulate, scores, Tally())
    random.Random(1).shuffle(scores)
    parts = [functools.reduce(metric.accumulate, scores[i::3], Tally()) for i in range(3)]
    other = functools.reduce(metric.merge, parts)
    assert metric.finalize(one) == metric.finalize(other)
    total = metric.finalize(one)
    assert (total.samples, total.frames) == (50, 150)
    assert total.unavailable == {"the reference has no mask": 1}
    values = [s.value for s in scores if s.value is not None]
    assert total.standard_error == pytest.approx(np.std(values, ddof=1) / math.sqrt(50))


def test_a_grid_cannot_count_twice() -> None:
    metric = PSNR()
    tally = metric.accumulate(Tally(), SampleScore("g", 1.0, 1))
    with pytest.raises(ValueError, match="twice"):
        metric.accumulate(tally, SampleScore("g", 1.0, 1))
