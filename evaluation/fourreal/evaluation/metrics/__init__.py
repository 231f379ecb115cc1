"""Metrics: what each measures, what it needs, and why it is missing where it is."""

from collections.abc import Sequence

from fourreal.evaluation.metrics.base import Comparison, Metric, Need, SampleScore, Score, Tally, Unavailable
from fourreal.evaluation.metrics.epipolar import TSED, EpipolarInliers
from fourreal.evaluation.metrics.motion import DynamicDegree, Flicker, WarpingError
from fourreal.evaluation.metrics.psnr import PSNR
from fourreal.evaluation.metrics.ssim import SSIM
from fourreal.platform.errors import UserError

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        PSNR(),
        PSNR(foreground=True),
        SSIM(),
        SSIM(foreground=True),
        Flicker(),
        WarpingError(),
        DynamicDegree(),
        TSED(),
        EpipolarInliers(),
    )
}
"""All metrics by name."""

STANDARD = ("psnr", "psnr_foreground", "ssim", "ssim_foreground")
"""The metrics of `fourreal evaluate` unless others are asked for: they need the reference and nothing else."""


def choose_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of these names. Raises UserError for a name that there is not."""
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric {name!r}: choose from {', '.join(METRICS)}")
    if not names:
        raise UserError(f"--metrics names none: choose from {', '.join(METRICS)}")
    return tuple(METRICS[name] for name in dict.fromkeys(names))


__all__ = [
    "METRICS",
    "PSNR",
    "SSIM",
    "STANDARD",
    "TSED",
    "Comparison",
    "DynamicDegree",
    "EpipolarInliers",
    "Flicker",
    "Metric",
    "Need",
    "SampleScore",
    "Score",
    "Tally",
    "Unavailable",
    "WarpingError",
    "choose_metrics",
]
