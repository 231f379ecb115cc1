"""Draws what the benchmark of rendering measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from render_quality import Point


def draw(
    path: Path, growth: Mapping[str, Sequence[tuple[float, float]]], ours: Sequence[Point], baseline: Sequence[Point]
) -> None:
    """Left: CPU-seconds a frame over what grows; right: quality over cost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), dpi=80, layout="constrained")
    for label, points in growth.items():
        left.loglog(*zip(*points, strict=True), "o-", label=label)
    left.set_xlabel("light paths a frame (pixels x samples), or frames a grid")
    left.set_ylabel("CPU-seconds a frame")
    left.legend(fontsize=8)
    for label, curve in (("this renderer", ours), ("Objaverse-XL script's settings", baseline)):
        right.semilogx([p.cpu_s for p in curve], [p.psnr_db for p in curve], "o-", label=label)
        for point in curve:
            right.annotate(f" {point.samples}", (point.cpu_s, point.psnr_db), fontsize=8)
    right.set_xlabel("CPU-seconds a frame (numbers: samples)")
    right.set_ylabel("PSNR, dB")
    right.legend(fontsize=8, loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path)
