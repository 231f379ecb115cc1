"""What one grid's comparison gives: every method under every metric, in a form that travels between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.metrics import Comparison, Metric, SampleScore
from fourreal.evaluation.pairing import NotCompared, Pair

MODEL = "model"
METHODS: tuple[str, ...] = (MODEL, *BASELINES)


@dataclass(frozen=True)
class Facts:
    """What a grid's numbers are about."""

    frames: int
    """Generated ones."""
    shape: tuple[int, int]
    """V and T."""
    resolution: str
    fps: str
    model: str
    """sha256 of the model that generated it."""
    steps: str
    sampling: str
    seed: str
    source: str
    """What the reference was made of."""
    fit: str = ""
    """What was done to the reference; empty where it had the size already."""


@dataclass(frozen=True)
class GridScores:
    """One grid: its facts and its scores by (method, metric), or the reason why it cannot be compared.

    weights: by metric, the sha256 of the files behind its scores.
    """

    key: str
    facts: Facts | None = None
    scores: Mapping[tuple[str, str], SampleScore] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reason: str = ""


def score_grid(pair: Pair | NotCompared, metrics: Sequence[Metric]) -> GridScores:
    """The model and the baselines of one pair under every metric, or why there is no comparison."""
    if isinstance(pair, NotCompared):
        return GridScores(pair.key, reason=pair.reason)
    scores = {
        (method, metric.name): _compute(metric, comparison, pair.key)
        for method, comparison in _comparisons(pair)
        for metric in metrics
    }
    return GridScores(pair.key, _facts(pair), scores, {metric.name: dict(metric.weights) for metric in metrics})


def sampling_label(provenance: Mapping[str, Any]) -> str:
    """How a grid was drawn from its model, in words: what scores of one model differ by."""
    parts = [f"{provenance.get('steps', 'unknown')} steps"]
    if "sampler" in provenance:
        parts[0] += f" of {provenance['sampler']}"
    if (shift := provenance.get("shift", 1.0)) != 1:
        parts.append(f"time shift {shift:g}")
    parts += [f"guidance of {name} {g:g}" for name, g in provenance.get("guidance", {}).items() if g != 1]
    if "windows" in provenance:
        parts.append(f"{len(provenance['windows'])} windows")
    if "upsampler" in provenance:
        upsampler = provenance["upsampler"]
        parts.append(f"upsampled by {upsampler['sha256'][:12]} in {upsampler['steps']} steps")
    return ", ".join(parts)


def baseline_frames(pair: Pair) -> Mapping[str, Any]:
    """Each baseline's grid, uint8 `[V, T, H, W, 3]`, from the given frames; empty unless both videos were given."""
    if not (pair.given[0, :].all() and pair.given[:, 0].all()):
        return {}
    frames = pair.prediction.frames
    return {name: baseline(frames[:, 0], frames[0]) for name, baseline in BASELINES.items()}


def _facts(pair: Pair) -> Facts:
    grid, provenance = pair.prediction, pair.prediction.meta.provenance
    return Facts(
        frames=int((~pair.given).sum()),
        shape=(grid.views, grid.times),
        resolution=f"{grid.height}x{grid.width}",
        fps=f"{grid.meta.fps:g}" if grid.meta.fps else "unknown",
        model=str(provenance.get("model_sha256", "unknown")),
        steps=str(provenance.get("steps", "unknown")),
        sampling=sampling_label(provenance),
        seed=str(provenance.get("seed", "unknown")),
        source=pair.source,
        fit=str(pair.fit) if pair.fit else "",
    )


def _comparisons(pair: Pair) -> list[tuple[str, Comparison | None]]:
    baselines = baseline_frames(pair)
    made = [(name, pair.compare(baselines[name]) if name in baselines else None) for name in BASELINES]
    return [(MODEL, pair.compare(pair.prediction.frames)), *made]


def _compute(metric: Metric, comparison: Comparison | None, key: str) -> SampleScore:
    if comparison is None:
        return SampleScore(key, None, reason="the fixed-view and the freeze-time video were not both given")
    return metric.compute(comparison)
