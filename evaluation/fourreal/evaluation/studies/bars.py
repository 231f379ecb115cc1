"""What a study has to reach, by its size: the main arm against baselines that learn nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fourreal.evaluation.baselines import BASELINES

Size = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Bar:
    """By how much the main arm at so many steps has to beat a baseline on a test set."""

    test: str
    steps: int
    baseline: str
    least: float = 0.0
    metric: str = "psnr"


BARS: Mapping[Size, tuple[Bar, ...]] = {
    "cpu": (
        Bar("procedural", 1, "average", 1.5),
        Bar("procedural", 1, "blurred average", 0.5),
        Bar("procedural", 4, "average"),
        Bar("real", 1, "average"),
        Bar("real", 1, "blurred average"),
    ),
    "gpu": (
        *(
            Bar("real", 4, baseline, 1.5 if metric == "psnr_foreground" else 0.0, metric)
            for metric in ("psnr_foreground", "ssim_foreground", "lpips", "tsed", "epipolar_inliers")
            for baseline in BASELINES
        ),
        Bar("real", 4, "average", metric="reconstruction"),  # the one baseline that is reconstructed
    ),
}
"""More is asked of the larger one: of every baseline, and of structure, perception and consistency too. By consistency
a copy may be ahead of the true grids, which is why no difference is judged by it; the bar asks for it all the same."""
