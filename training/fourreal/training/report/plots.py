"""Pictures of a run's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def plot_coupling(strengths: Sequence[float], path: Path) -> None:
    """Synchronization strength over depth, as a PNG; see `model.coupling`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(strengths)), strengths, color="#3b6ea5")
    axes.set(xlabel="layer", ylabel="strength of synchronization", title="How strongly the streams are coupled")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=120)
