"""A model and the baselines under every metric, over the frames that were generated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.metrics import Comparison, Metric, SampleScore, Score, Tally
from fourreal.evaluation.pairing import NotCompared, Pair

MODEL = "model"
METHODS: tuple[str, ...] = (MODEL, *BASELINES)


@dataclass
class Scoreboard:
    """Accumulates pairs; one tally for each method and metric, and what the numbers are about."""

    metrics: Sequence[Metric]
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    not_compared: dict[str, str] = field(default_factory=dict)
    grids: int = 0
    frames: int = 0
    resolutions: Counter[str] = field(default_factory=Counter)
    fps: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    sampling: Counter[str] = field(default_factory=Counter)
    fits: Counter[str] = field(default_factory=Counter)
    _scores: dict[tuple[str, str], tuple[Tally, Score]] = field(default_factory=dict)

    def add(self, pair: Pair | NotCompared) -> None:
        """Score one pair under every metric, or note why it cannot be."""
        if isinstance(pair, NotCompared):
            self.not_compared[pair.key] = pair.reason
            return
        meta = pair.prediction.meta
        self.grids += 1
        self.frames += int((~pair.given).sum())
        self.resolutions[f"{pair.prediction.height}x{pair.prediction.width}"] += 1
        self.fps[f"{meta.fps:g}" if meta.fps else "unknown"] += 1
        self.models[str(meta.provenance.get("model_sha256", "unknown"))] += 1
        self.steps[str(meta.provenance.get("steps", "unknown"))] += 1
        self.sampling[sampling_label(meta.provenance)] += 1
        if pair.fit:
            self.fits[str(pair.fit)] += 1
        for method, comparison in _comparisons(pair):
            for metric in self.metrics:
                self._count(method, metric, _compute(metric, comparison, pair.key))

    def score(self, method: str, metric: Metric) -> Score:
        """The method's score so far; asked for often, and a distance between sets takes its time."""
        place = (method, metric.name)
        tally = self.tallies.get(place, Tally())
        if place not in self._scores or self._scores[place][0] is not tally:
            self._scores[place] = (tally, metric.finalize(tally))
        return self._scores[place][1]

    def rows(self) -> list[dict[str, Any]]:
        """A record for each method and metric, complete in itself: value, N, frames, resolution, fps, weights."""
        return [
            {
                "method": method,
                "metric": metric.name,
                "unit": metric.unit,
                **asdict(self.score(method, metric)),
                "resolution": dict(self.resolutions),
                "fps": dict(self.fps),
                "model_sha256": sorted(self.models) if method == MODEL else [],
                "steps": sorted(self.steps) if method == MODEL else [],
                "sampling": sorted(self.sampling) if method == MODEL else [],
                "metric_weights_sha256": dict(metric.weights),
            }
            for method in METHODS
            for metric in self.metrics
        ]

    def samples(self) -> list[dict[str, Any]]:
        """A record for each grid, method and metric."""
        return [
            {"method": method, "metric": metric, "key": key, "value": score.value, "frames": score.frames}
            | {"reason": score.reason}
            for (method, metric), tally in self.tallies.items()
            for key, score in sorted(tally.scores.items())
            if score.features is None  # a distance between sets has no value for a grid
        ]

    def _count(self, method: str, metric: Metric, score: SampleScore) -> None:
        place = (method, metric.name)
        self.tallies[place] = metric.accumulate(self.tallies.get(place, Tally()), score)


def score_pairs(pairs: Iterable[Pair | NotCompared], metrics: Sequence[Metric]) -> Scoreboard:
    """Score all of `pairs`."""
    board = Scoreboard(metrics)
    for pair in pairs:
        board.add(pair)
    return board


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


def _comparisons(pair: Pair) -> list[tuple[str, Comparison | None]]:
    baselines = baseline_frames(pair)
    made = [(name, pair.compare(baselines[name]) if name in baselines else None) for name in BASELINES]
    return [(MODEL, pair.compare(pair.prediction.frames)), *made]


def _compute(metric: Metric, comparison: Comparison | None, key: str) -> SampleScore:
    if comparison is None:
        return SampleScore(key, None, reason="the fixed-view and the freeze-time video were not both given")
    return metric.compute(comparison)
