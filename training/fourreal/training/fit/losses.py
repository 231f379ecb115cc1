"""Losses of a run, in a few numbers: how it began and how it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class LossRecord:
    """The first and the last `window` losses. A single loss says little: it depends on the diffusion times drawn."""

    window: int
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    @classmethod
    def for_steps(cls, steps: int) -> LossRecord:
        """A record whose window suits a run of that many steps."""
        return cls(window=min(100, max(1, steps // 10)))

    def add(self, loss: float) -> None:
        """Take the loss of a step."""
        if len(self.first) < self.window:
            self.first.append(loss)
        self.last = [*self.last[1 - self.window :], loss] if self.window > 1 else [loss]

    @property
    def start(self) -> float:
        """Mean of the first losses; NaN before there are any."""
        return sum(self.first) / len(self.first) if self.first else float("nan")

    @property
    def end(self) -> float:
        """Mean of the latest losses; NaN before there are any."""
        return sum(self.last) / len(self.last) if self.last else float("nan")

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"window": self.window, "first": self.first, "last": self.last}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> LossRecord:
        """The inverse of `to_json`."""
        return cls(**document)
