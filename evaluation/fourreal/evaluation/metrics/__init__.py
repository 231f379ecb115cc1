"""Metrics: what each measures, what it needs, and why it is missing where it is."""

from fourreal.evaluation.metrics.base import Comparison, Metric, Need, SampleScore, Score, Tally, Unavailable
from fourreal.evaluation.metrics.psnr import PSNR
from fourreal.evaluation.metrics.ssim import SSIM


def standard_metrics() -> tuple[Metric, ...]:
    """The metrics of `fourreal evaluate`: they need the reference and nothing else."""
    return (PSNR(), PSNR(foreground=True), SSIM(), SSIM(foreground=True))


__all__ = [
    "PSNR",
    "SSIM",
    "Comparison",
    "Metric",
    "Need",
    "SampleScore",
    "Score",
    "Tally",
    "Unavailable",
    "standard_metrics",
]
