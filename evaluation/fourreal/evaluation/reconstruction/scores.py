"""How well a scene explains a grid: its renderings of views that the fit did not see, and its depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics import LPIPS, PSNR, SSIM, Comparison, Metric
from fourreal.evaluation.networks import Networks
from fourreal.evaluation.pretrained import WeightsStore
from fourreal.platform.grid import Grid

COVERED = 0.5
"""Alpha, and share of a mask, from which a pixel counts as foreground."""


def view_scores(
    source: Grid, frames: npt.NDArray[np.uint8], views: Sequence[int], weights: str | None
) -> dict[str, Any]:
    """PSNR, SSIM and LPIPS of `frames` `[V, T, H, W, 3]` over `views` beside the source's, whole and foreground.

    A value that does not exist is None, and `unavailable` says why (no mask, no weights in the store `weights`).
    """
    if not views:
        return {}
    H, W = source.height, source.width
    mask = None if source.mask is None else source.mask[views].reshape(-1, H, W)
    comparison = Comparison(
        source.key, frames[views].reshape(-1, H, W, 3), source.frames[views].reshape(-1, H, W, 3), mask
    )
    metrics: tuple[Metric, ...] = (
        *(PSNR(), PSNR(foreground=True), SSIM(), SSIM(foreground=True)),
        LPIPS(Networks(WeightsStore(weights))),
    )
    answers = {metric.name: metric.compute(comparison) for metric in metrics}
    return {
        **{name: None if a.value is None else round(a.value, 4) for name, a in answers.items()},
        "held_out_views": list(views),
        "unavailable": {name: a.reason for name, a in answers.items() if a.value is None},
    }


def depth_error(source: Grid, depth: npt.NDArray[np.float32]) -> float | None:
    """Median relative error of planar depth over the source's foreground; None where the source has no depth."""
    if source.depth is None:
        return None
    both = np.isfinite(source.depth) & np.isfinite(depth)
    if source.mask is not None:
        both &= source.mask >= 255 * COVERED
    if not both.any():
        return None
    return round(float(np.median(np.abs(depth[both] / source.depth[both] - 1))), 5)
