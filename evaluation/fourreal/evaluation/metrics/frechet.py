"""Frechet distances between sets of features: one value for a set, none for a grid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics.base import Comparison, Features, Metric, SampleScore, Score, Tally, count_reasons

Matrix = npt.NDArray[np.float64]


class FrechetDistance(Metric):
    """The Frechet distance between Gaussians fitted to the features of generated and of true items.

    Tallies keep every grid's features (float32), so that merging them in any order gives the same value to the last
    bit: 49 frames of 2048 features are 0.4 MB a grid and method.
    """

    unit = ""
    higher_is_better = False
    items: str
    """What a feature vector describes, in the plural: `frames`, `videos`."""
    allow_few: bool

    @abstractmethod
    def features(self, sample: Comparison) -> tuple[Features, int]:
        """The features of one grid, and over how many generated frames."""

    def answer(self, sample: Comparison) -> SampleScore:
        """See `Metric.answer`."""
        features, frames = self.features(sample)
        return SampleScore(sample.key, None, frames, features=features)

    def value_over(self, scores: Sequence[SampleScore]) -> float:
        """See `Metric.value_over`."""
        return frechet_distance(*_sides(scores))

    def finalize(self, tally: Tally) -> Score:
        """The distance over all grids with features; None when they are too few to say anything."""
        found = list(tally.answers.values())
        unavailable = count_reasons(tally)
        if not found:
            reason = "; ".join(unavailable) or "there is no sample"
            return Score(None, samples=0, frames=0, reason=reason, unavailable=unavailable)
        prediction, reference = _sides(found)
        items, dimension = min(len(prediction), len(reference)), prediction.shape[1]
        few = items <= dimension
        if items < 2 or (few and not self.allow_few):
            reason = (
                f"{items} {self.items} a side, and the covariance of {dimension} features needs {dimension + 1}: "
                "evaluate more grids, or say --allow-few for a number that compares with nothing published"
            )
            return Score(None, 0, 0, None, reason, {**unavailable, reason: len(found)}, items=items, few=few)
        frames = sum(score.frames for score in found)
        value = frechet_distance(prediction, reference)
        return Score(value, len(found), frames, None, "", unavailable, items=items, few=few)


def _sides(scores: Sequence[SampleScore]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    features = [score.features for score in scores if score.features is not None]
    return np.concatenate([f.prediction for f in features]), np.concatenate([f.reference for f in features])


def frechet_distance(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Squared Frechet distance between Gaussians with the means and covariances of two samples `[N, D]`, `[M, D]`.

    `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` (Dowson and Landau 1982, equation 16; Heusel et al. 2017), with
    unbiased covariances, in float64. With `Si = Ai^T Ai` the last trace is the sum of the singular values of
    `A1 A2^T`: no square root of a product that rounding has made indefinite, and exact for singular covariances too.
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    offset = a.mean(axis=0) - b.mean(axis=0)
    root_a, root_b = _root(a), _root(b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return float(max(0.0, offset @ offset + (root_a**2).sum() + (root_b**2).sum() - 2 * cross))


def _root(samples: Matrix) -> Matrix:
    """A matrix of at most D rows whose square `A^T A` is the covariance of `samples` `[N, D]`."""
    centred = (samples - samples.mean(axis=0)) / np.sqrt(len(samples) - 1)
    if len(centred) <= centred.shape[1]:
        return np.asarray(centred)
    return np.asarray(np.linalg.qr(centred, mode="r"))
