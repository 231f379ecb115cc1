"""Which steps are taken: a loss or gradient that is not finite, or far above the recent ones, is not learned from."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from fourreal.training.settings.groups import GuardSettings

_WINDOW = 50
_SETTLED = 10
"""Taken steps before anything can be called a spike."""


@dataclass
class Guard:
    """The recent taken steps and the counts. Its numbers are global means, so all workers decide alike."""

    settings: GuardSettings
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    skipped: int = 0
    """Steps skipped so far."""
    in_a_row: int = 0
    rollbacks: int = 0

    def norm_limit(self, loss: float) -> float:
        """The gradient norm that a step must stay below to be taken; 0 when its mean loss rules it out."""
        if not math.isfinite(loss) or loss > self._limit(self.losses):
            return 0.0
        return self._limit(self.norms)

    def add(self, taken: bool, loss: float, norm: float) -> None:
        """Take note of a step."""
        if taken:
            self.losses, self.norms = [*self.losses[1 - _WINDOW :], loss], [*self.norms[1 - _WINDOW :], norm]
            self.in_a_row = 0
        else:
            self.skipped += 1
            self.in_a_row += 1

    @property
    def wants_rollback(self) -> bool:
        """Whether so many steps were skipped in a row that the weights themselves must be suspected."""
        return self.in_a_row >= self.settings.max_skips

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {name: value for name, value in asdict(self).items() if name != "settings"}

    @classmethod
    def from_json(cls, settings: GuardSettings, document: dict[str, Any]) -> Guard:
        """The inverse of `to_json`."""
        return cls(settings, **document)

    def _limit(self, recent: list[float]) -> float:
        if len(recent) < _SETTLED:
            return math.inf
        return self.settings.spike_factor * statistics.median(recent)
