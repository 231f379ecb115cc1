"""The papers' tables as data: which grids, which frames, which metrics in which order, and the published rows.

Published rows are copied from the papers and marked as such wherever they are printed; they were measured on data that
is not public, so that they show the scale and are never a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fourreal.evaluation.scoring import Scoreboard


@dataclass(frozen=True)
class Column:
    """One column of a table; several metrics stand in a cell as `a / b`."""

    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Protocol:
    """What has to be evaluated for a table, and how it looks. Sizes in pixels; None where the paper says nothing."""

    name: str
    source: str
    columns: tuple[Column, ...]
    published: Mapping[str, tuple[str, ...]]
    """By method, a text for each column; "" where the paper has none."""
    views: int
    times: int
    resolution: str
    least_grids: int
    """Fewer are marked: the table is then a try, not a result."""
    steps: str | None = None
    seed: str = "0"
    frames: str = "the frames that were not given; of a video with a generated frame, all frames"
    fps: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics of the table, in its order."""
        return tuple(name for column in self.columns for name in column.metrics)

    def deviations(self, board: Scoreboard) -> list[str]:
        """Where what was evaluated is not what the protocol asks for, one sentence each."""
        asked: Sequence[tuple[str, str | None, Mapping[str, int]]] = (
            ("views x times", f"{self.views} x {self.times}", {f"{v} x {t}": n for (v, t), n in board.shapes.items()}),
            ("resolution", self.resolution, dict(board.resolutions)),
            ("fps", self.fps, dict(board.fps)),
            ("sampling steps", self.steps, dict(board.steps)),
            ("seed", self.seed, dict(board.seeds)),
        )
        lines = [
            f"{what}: {', '.join(sorted(found))} instead of {wanted}"
            for what, wanted, found in asked
            if wanted is not None and set(found) != {wanted}
        ]
        if board.grids < self.least_grids:
            lines.append(f"grids: {board.grids} instead of {self.least_grids} or more")
        return lines


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "4real-video",
            "4Real-Video (CVPR 2025, arXiv 2412.04462), tables 1 and 2",
            (
                Column("FID", ("fid",)),
                Column("CLIP", ("clip_score",)),
                Column("FVD", ("fv4d",)),
                Column("VideoScore visual", ("videoscore_visual_fixed_view", "videoscore_visual_freeze_time")),
                Column("VideoScore temporal", ("videoscore_temporal_fixed_view", "videoscore_temporal_freeze_time")),
                Column("Dust3R-confidence %", ("dust3r_confidence_2", "dust3r_confidence_2_5", "dust3r_confidence_3")),
            ),
            {
                "SV4D": ("204.81", "19.46", "1053", "2.26 / 2.02", "2.03 / 1.68", ""),
                "MotionCtrl": ("87.10", "20.20", "1556", "2.36 / 2.30", "2.38 / 2.25", ""),
                "4Real-Video sequential": (
                    *("96.64", "28.16", "1663", "2.30 / 2.28", "2.21 / 2.15", "33.5 / 24.6 / 16.6"),
                ),
                "4Real-Video soft, no Objaverse": ("", "", "", "", "", "39.1 / 31.4 / 24.0"),
                "4Real-Video hard": ("79.92", "28.16", "973", "2.42 / 2.40", "2.40 / 2.33", "39.3 / 31.5 / 23.8"),
                "4Real-Video soft": ("78.36", "28.22", "906", "2.43 / 2.42", "2.41 / 2.36", "41.0 / 33.4 / 25.7"),
            },
            views=8,
            times=8,
            resolution="288x512",
            least_grids=401,
            notes=(
                "VideoScore: fixed-view / freeze-time videos; Dust3R-confidence: thresholds 2.0 / 2.5 / 3.0, over "
                "neighbouring views.",
                "FVD is over all 64 frames as one video (fv4d): I3D reads no video of 8 frames, and the paper does not "
                "say which way through the grid it took. fps, steps, seeds and N are not published; seed 0 and at "
                "least 401 grids (of as many videos I3D's 400 numbers have a covariance) are ours.",
            ),
        ),
        Protocol(
            "4real-video-v2",
            "4Real-Video-V2 (arXiv 2506.18839), held-out animated Objaverse",
            (Column("PSNR", ("psnr",)), Column("SSIM", ("ssim",)), Column("LPIPS", ("lpips",))),
            {
                "SV4D": ("19.65", ".883", ".137"),
                "V2 sequential": ("5.9", ".444", ".583"),
                "V2 parallel": ("21.40", ".892", ".124"),
                "V2 fused": ("22.49", ".909", ".113"),
            },
            views=8,
            times=29,
            resolution="144x256",
            least_grids=20,
            notes=("N, fps, steps and seeds are not published; seed 0 and at least 20 grids are ours.",),
        ),
    )
}
"""By the name that `fourreal evaluate --protocol` takes."""
