"""A model and the baselines under every metric, over the frames that were generated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fourreal.evaluation.grid_scores import METHODS, MODEL, GridScores, score_grid
from fourreal.evaluation.metrics import Metric, Score, Tally
from fourreal.evaluation.pairing import NotCompared, Pair


@dataclass
class Scoreboard:
    """Accumulates grids; one tally for each method and metric, and what the numbers are about."""

    metrics: Sequence[Metric]
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    not_compared: dict[str, str] = field(default_factory=dict)
    grids: int = 0
    frames: int = 0
    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    resolutions: Counter[str] = field(default_factory=Counter)
    fps: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    sampling: Counter[str] = field(default_factory=Counter)
    seeds: Counter[str] = field(default_factory=Counter)
    fits: Counter[str] = field(default_factory=Counter)
    weights: dict[str, dict[str, str]] = field(default_factory=dict)
    """By metric, the sha256 of the files behind its scores."""
    sources: dict[str, str] = field(default_factory=dict)
    """By grid, what its reference was made of."""
    _scores: dict[tuple[str, str], tuple[Tally, Score]] = field(default_factory=dict)

    @property
    def source_count(self) -> int:
        """What the grids were made of: so many assets or videos."""
        return len(set(self.sources.values()))

    def add(self, grid: GridScores) -> None:
        """Count one grid's scores, or note why it has none."""
        facts = grid.facts
        if facts is None:
            self.not_compared[grid.key] = grid.reason
            return
        self.grids += 1
        self.frames += facts.frames
        self.shapes[facts.shape] += 1
        self.resolutions[facts.resolution] += 1
        self.fps[facts.fps] += 1
        self.models[facts.model] += 1
        self.steps[facts.steps] += 1
        self.sampling[facts.sampling] += 1
        self.seeds[facts.seed] += 1
        self.sources[grid.key] = facts.source
        if facts.fit:
            self.fits[facts.fit] += 1
        for method in METHODS:
            for metric in self.metrics:
                place = (method, metric.name)
                self.tallies[place] = metric.accumulate(self.tallies.get(place, Tally()), grid.scores[place])
        for name, digests in grid.weights.items():
            self.weights.setdefault(name, {}).update(digests)

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
                "metric_weights_sha256": self.weights.get(metric.name, {}),
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


def score_pairs(pairs: Iterable[Pair | NotCompared], metrics: Sequence[Metric]) -> Scoreboard:
    """Score all of `pairs` in this process."""
    board = Scoreboard(metrics)
    for pair in pairs:
        board.add(score_grid(pair, metrics))
    return board
