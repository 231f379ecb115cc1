"""Metrics: what each measures, what it needs, and why it is missing where it is."""

from collections.abc import Sequence

from fourreal.evaluation.metrics.base import (
    Comparison,
    Features,
    Metric,
    Need,
    SampleMetric,
    SampleScore,
    Score,
    Tally,
    Unavailable,
)
from fourreal.evaluation.metrics.clip import CLIPConsistency, CLIPScore
from fourreal.evaluation.metrics.epipolar import TSED, EpipolarInliers
from fourreal.evaluation.metrics.fid import FID
from fourreal.evaluation.metrics.fvd import FVD, WAYS
from fourreal.evaluation.metrics.lpips import LPIPS
from fourreal.evaluation.metrics.motion import DynamicDegree, Flicker, WarpingError
from fourreal.evaluation.metrics.psnr import PSNR
from fourreal.evaluation.metrics.reconstruction import Reconstruction
from fourreal.evaluation.metrics.sharpness import Sharpness
from fourreal.evaluation.metrics.ssim import SSIM
from fourreal.evaluation.metrics.videoscore import DIMENSIONS, VIDEOS, VideoScore
from fourreal.evaluation.metrics.view_pairs import THRESHOLDS, DUSt3RConfidence, MEt3RScore
from fourreal.evaluation.networks import Networks
from fourreal.platform.errors import UserError

STANDARD = ("psnr", "psnr_foreground", "ssim", "ssim_foreground")
"""The metrics of `fourreal evaluate` unless others are asked for: they need the reference and nothing else."""


ALL = "all"
"""Instead of names: every metric."""


def all_metrics(networks: Networks | None = None, *, allow_few: bool = False) -> dict[str, Metric]:
    """All metrics by name, those that need published weights over `networks` (default: the default store's).

    allow_few: whether distances between sets are given for fewer items than they need.
    """
    networks = networks or Networks()
    metrics: tuple[Metric, ...] = (
        PSNR(),
        PSNR(foreground=True),
        SSIM(),
        SSIM(foreground=True),
        Sharpness(),
        Sharpness(foreground=True),
        Flicker(),
        WarpingError(),
        DynamicDegree(),
        TSED(),
        EpipolarInliers(),
        Reconstruction(),
        LPIPS(networks),
        CLIPScore(networks),
        CLIPConsistency(networks, "time"),
        CLIPConsistency(networks, "view"),
        FID(networks, allow_few=allow_few),
        *(FVD(networks, name, allow_few=allow_few) for name in WAYS),
        *(VideoScore(networks, dimension, videos) for videos in VIDEOS for dimension in DIMENSIONS),
        *(DUSt3RConfidence(networks, threshold) for threshold in THRESHOLDS),
        MEt3RScore(networks),
    )
    return {metric.name: metric for metric in metrics}


def choose_metrics(
    names: Sequence[str], networks: Networks | None = None, *, allow_few: bool = False
) -> tuple[Metric, ...]:
    """The metrics of these names, as in `all_metrics`. Raises UserError for a name that there is not."""
    metrics = all_metrics(networks, allow_few=allow_few)
    if list(names) == [ALL]:
        return tuple(metrics.values())
    for name in names:
        if name not in metrics:
            raise UserError(f"there is no metric {name!r}: choose from {', '.join(metrics)}, or {ALL}")
    if not names:
        raise UserError(f"--metrics names none: choose from {', '.join(metrics)}, or {ALL}")
    return tuple(metrics[name] for name in dict.fromkeys(names))


__all__ = [
    "ALL",
    "FID",
    "FVD",
    "LPIPS",
    "PSNR",
    "SSIM",
    "STANDARD",
    "TSED",
    "CLIPConsistency",
    "CLIPScore",
    "Comparison",
    "DUSt3RConfidence",
    "DynamicDegree",
    "EpipolarInliers",
    "Features",
    "Flicker",
    "MEt3RScore",
    "Metric",
    "Need",
    "Reconstruction",
    "SampleMetric",
    "SampleScore",
    "Score",
    "Sharpness",
    "Tally",
    "Unavailable",
    "VideoScore",
    "WarpingError",
    "all_metrics",
    "choose_metrics",
]
