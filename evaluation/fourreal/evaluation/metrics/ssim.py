"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004, IEEE TIP 13(4), section III)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics.base import Comparison, Need, SampleMetric, Unavailable

WINDOW_PX = 11
SIGMA_PX = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2

Image = npt.NDArray[np.float64]


def ssim_map(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> Image:
    """SSIM at every pixel, mean of R, G and B; uint8 `[H, W, 3]` in, float64 `[H, W]` out.

    Windows that reach over the border see the image mirrored; 5 pixels in from the border none does.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    mean_a, mean_b = _local_mean(a), _local_mean(b)
    # Population moments: the window's weights sum to one (the paper's equations 14 to 16).
    variance_a = _local_mean(a * a) - mean_a**2
    variance_b = _local_mean(b * b) - mean_b**2
    covariance = _local_mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    mean: Image = (luminance * structure).mean(axis=-1)
    return mean


def _local_mean(image: Image) -> Image:
    kernel = cv2.getGaussianKernel(WINDOW_PX, SIGMA_PX, cv2.CV_64F)
    smooth: Image = cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    return smooth


class SSIM(SampleMetric):
    """Mean over frames of each frame's mean SSIM."""

    unit = ""
    higher_is_better = True

    def __init__(self, *, foreground: bool = False) -> None:
        self.name = "ssim_foreground" if foreground else "ssim"
        needs: set[Need] = {"reference", "mask"} if foreground else {"reference"}
        self.needs = frozenset(needs)
        where = "the foreground pixels (reference mask >= 128)" if foreground else "the pixels whose window lies inside"
        self.definition = (
            "mean over frames of SSIM (Wang et al. 2004: Gaussian window 11x11, sigma 1.5, K1 .01, K2 .03, range 255), "
            f"mean of R, G and B, over {where}"
        )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`. Frames without a foreground pixel do not count."""
        assert sample.reference is not None
        height, width = sample.prediction.shape[1:3]
        if min(height, width) < WINDOW_PX:
            raise Unavailable(f"frames of {height}x{width} are smaller than the {WINDOW_PX}x{WINDOW_PX} window")
        margin = WINDOW_PX // 2
        inside = np.zeros((height, width), bool)
        inside[margin:-margin, margin:-margin] = True
        weights = sample.foreground if "mask" in self.needs else np.broadcast_to(inside, sample.prediction.shape[:3])
        values = [
            ssim_map(prediction, reference)[where].mean()
            for prediction, reference, where in zip(sample.prediction, sample.reference, weights, strict=True)
            if where.any()
        ]
        if not values:
            raise Unavailable("no generated frame has a foreground pixel")
        return float(np.mean(values)), len(values)
