"""The interface of a metric: compute one sample, accumulate, merge, finalize; unavailable with a reason.

A `SampleMetric` gives every grid a value, and a set their mean. A metric over sets (`metrics/frechet.py`) gives every
grid features, and a set one value.

A metric that lacks what it needs says so and is left out of the numbers; nothing ever stands in for it. Tallies
keep every sample's value, so that merging them in any order gives the same score to the last bit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Need = Literal["reference", "mask", "grid", "cameras", "reference_grid", "caption"]
"""What a metric can need of a comparison beyond the prediction itself."""

FOREGROUND_THRESHOLD = 128
"""A pixel is foreground where the reference's mask (0 to 255) is at least this."""

_REASONS: dict[Need, str] = {
    "reference": "there is no reference grid",
    "mask": "the reference has no mask",
    "grid": "the grid as a whole is not there",
    "cameras": "the grid has no cameras",
    "reference_grid": "the reference grid as a whole is not there",
    "caption": "the grid has no caption",
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """The frames of one grid that were generated, beside the true ones.

    prediction: uint8 `[N, H, W, 3]`; reference: likewise; mask: uint8 `[N, H, W]`, of the reference. For what is
    measured between frames, grid: uint8 `[V, T, H, W, 3]`, given and generated frames in their places, and cameras:
    intrinsics `[V, 3, 3]` and world-to-camera `[V, 4, 4]`; reference_grid: like grid; made: bool `[V, T]`, which frames
    of the grid were generated (all, when it is not said). caption: what the grid is said to show.
    """

    key: str
    prediction: npt.NDArray[np.uint8]
    reference: npt.NDArray[np.uint8] | None = None
    mask: npt.NDArray[np.uint8] | None = None
    grid: npt.NDArray[np.uint8] | None = None
    cameras: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    reference_grid: npt.NDArray[np.uint8] | None = None
    made: npt.NDArray[np.bool_] | None = None
    caption: str | None = None

    def __post_init__(self) -> None:
        for name, array, shape in (
            ("reference", self.reference, self.prediction.shape),
            ("mask", self.mask, self.prediction.shape[:3]),
        ):
            if array is not None and array.shape != shape:
                raise ValueError(
                    f"{name} of grid {self.key!r} has shape {array.shape}, its prediction asks for {shape}"
                )

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """bool `[N, H, W]`; the mask must be there."""
        assert self.mask is not None
        return np.asarray(self.mask >= FOREGROUND_THRESHOLD)

    @property
    def generated(self) -> npt.NDArray[np.bool_]:
        """bool `[V, T]`: which frames of `grid` were generated; the grid must be there."""
        assert self.grid is not None
        return np.ones(self.grid.shape[:2], bool) if self.made is None else self.made


class Unavailable(Exception):
    """A metric has no value for this sample; the text is the reason."""


@dataclass(frozen=True, eq=False)
class Features:
    """What one grid adds to a distance between sets: vectors `[N, D]` of either side."""

    prediction: npt.NDArray[np.float32]
    reference: npt.NDArray[np.float32]


@dataclass(frozen=True)
class SampleScore:
    """A metric's answer for one grid: a value over so many frames, or the reason why there is none.

    For a metric over sets: features instead of a value.
    """

    key: str
    value: float | None
    frames: int = 0
    reason: str = ""
    features: Features | None = None

    @property
    def exists(self) -> bool:
        """Whether there is an answer."""
        return self.value is not None or self.features is not None


@dataclass(frozen=True)
class Tally:
    """Everything a metric has seen, by grid key."""

    scores: Mapping[str, SampleScore] = field(default_factory=dict)

    @property
    def answers(self) -> dict[str, SampleScore]:
        """The grids that have an answer, by key in order."""
        return {key: self.scores[key] for key in sorted(self.scores) if self.scores[key].exists}


@dataclass(frozen=True)
class Score:
    """A metric over a set: the mean over `samples` grids, or the reason why there is none.

    `standard_error` is that of the mean over grids (None below two of them). `unavailable` counts the grids that
    have no value, by reason. For a distance between sets, `items` is the number of vectors on the smaller side, and
    `few` says that they are fewer than the distance needs.
    """

    value: float | None
    samples: int
    frames: int
    standard_error: float | None = None
    reason: str = ""
    unavailable: Mapping[str, int] = field(default_factory=dict)
    items: int | None = None
    few: bool = False


class Metric(ABC):
    """One measure: what it is, its answer for a sample, and what the answers of many samples make together."""

    name: str
    """As in tables and records: `psnr_foreground`."""
    unit: str
    higher_is_better: bool
    needs: frozenset[Need]
    definition: str
    """One sentence: exactly what is computed, so that the number can be compared with others."""
    ideal: float | None = None
    """The value to come close to, where neither more nor less is always better."""

    @property
    def weights(self) -> Mapping[str, str]:
        """sha256 of every file of published weights behind the answers so far, by name."""
        return {}

    @abstractmethod
    def answer(self, sample: Comparison) -> SampleScore:
        """The answer for one grid; what `needs` names is there. Raises Unavailable where there is none."""

    @abstractmethod
    def finalize(self, tally: Tally) -> Score:
        """The score of all grids of `tally`."""

    @abstractmethod
    def value_over(self, scores: Sequence[SampleScore]) -> float:
        """The value over these answers, which exist all, each as often as it is listed."""

    def compute(self, sample: Comparison) -> SampleScore:
        """This metric's answer for one grid."""
        for need in sorted(self.needs):
            if getattr(sample, need) is None:
                return SampleScore(sample.key, None, reason=_REASONS[need])
        try:
            return self.answer(sample)
        except Unavailable as missing:
            return SampleScore(sample.key, None, reason=str(missing))

    def accumulate(self, tally: Tally, score: SampleScore) -> Tally:
        """`tally` with one more grid. ValueError for a key that is in it already."""
        return self.merge(tally, Tally({score.key: score}))

    def merge(self, one: Tally, other: Tally) -> Tally:
        """Two tallies of different grids (of two workers, say) as one. ValueError for a key in both."""
        if twice := one.scores.keys() & other.scores.keys():
            raise ValueError(f"{self.name} would count these grids twice: {sorted(twice)}")
        return Tally({**one.scores, **other.scores})


class SampleMetric(Metric):
    """A measure with a value for every grid; a set has their mean."""

    @abstractmethod
    def measure(self, sample: Comparison) -> tuple[float, int]:
        """The value for one grid and over how many frames; what `needs` names is there.

        Raises Unavailable with the reason where the value does not exist.
        """

    def answer(self, sample: Comparison) -> SampleScore:
        """See `Metric.answer`."""
        return SampleScore(sample.key, *self.measure(sample))

    def value_over(self, scores: Sequence[SampleScore]) -> float:
        """The mean."""
        return math.fsum(score.value for score in scores if score.value is not None) / len(scores)

    def finalize(self, tally: Tally) -> Score:
        """The mean over the grids that have a value."""
        values = [score.value for score in tally.scores.values() if score.value is not None]
        frames = sum(score.frames for score in tally.scores.values() if score.value is not None)
        unavailable = count_reasons(tally)
        if not values:
            reason = "; ".join(unavailable) or "there is no sample"
            return Score(None, samples=0, frames=0, reason=reason, unavailable=unavailable)
        mean = math.fsum(values) / len(values)  # fsum: the order of merging must not show
        return Score(mean, len(values), frames, _standard_error(values, mean), unavailable=unavailable)


def count_reasons(tally: Tally) -> dict[str, int]:
    """How many grids have no answer, by reason."""
    return dict(sorted(Counter(score.reason for score in tally.scores.values() if score.reason).items()))


def _standard_error(values: list[float], mean: float) -> float | None:
    if len(values) < 2:
        return None
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))
