"""Peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np

from fourreal.evaluation.metrics.base import Comparison, Need, SampleMetric, Unavailable

MSE_FLOOR = 1 / 12
"""Least squared error that counts, in grey levels squared: the variance of rounding to 8 bits.

Equal frames would otherwise score infinity, and one of them would swallow the mean. It caps PSNR at 58.92 dB.
"""

PEAK = 255.0


class PSNR(SampleMetric):
    """Mean over frames of each frame's PSNR in dB (not the PSNR of the mean error, which is lower)."""

    unit = "dB"
    higher_is_better = True

    def __init__(self, *, foreground: bool = False) -> None:
        self.name = "psnr_foreground" if foreground else "psnr"
        needs: set[Need] = {"reference", "mask"} if foreground else {"reference"}
        self.needs = frozenset(needs)
        where = "the foreground pixels (reference mask >= 128)" if foreground else "all pixels"
        self.definition = (
            f"mean over frames of 10 log10(255^2 / MSE), MSE over {where} and R, G, B of 8-bit frames, at least 1/12"
        )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`. Frames without a foreground pixel do not count."""
        assert sample.reference is not None
        squared = (sample.prediction.astype(np.float64) - sample.reference.astype(np.float64)) ** 2
        per_pixel = squared.mean(axis=-1)
        weights = sample.foreground if "mask" in self.needs else np.ones(per_pixel.shape, bool)
        pixels = weights.sum(axis=(1, 2))
        counted = pixels > 0
        if not counted.any():
            raise Unavailable("no generated frame has a foreground pixel")
        mse = (per_pixel * weights).sum(axis=(1, 2))[counted] / pixels[counted]
        psnr = 10 * np.log10(PEAK**2 / np.maximum(mse, MSE_FLOOR))
        return float(psnr.mean()), int(counted.sum())
