"""What of a grid becomes a sample: which of its frames, in what order, and which of them are given.

Shape legend: V views, T times, N frames of a sequence (V or T). Pairs are (view, time).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fourreal.training.data.catalogue import BatchShape
from fourreal.training.data.order import Indices
from fourreal.training.data.pixels import even_indices
from fourreal.training.model import FIXED_VIEW, FREEZE_TIME, border_given
from fourreal.training.settings.groups import AugmentSettings, MixtureSettings, Stage


def sample_shape(bucket: BatchShape, context: int | None) -> tuple[int, ...]:
    """Axes of a sample's frames: (V, T) of a grid, (N,) of a sequence."""
    if context is None:
        return bucket.views, bucket.times
    return (bucket.times if context == FIXED_VIEW else bucket.views,)


def choose_frames(
    have: tuple[int, int], bucket: BatchShape, context: int | None, augment: AugmentSettings, rng: np.random.Generator
) -> Indices:
    """(view, time) pairs of a sample from a grid that has so many views and times: [V, T, 2], or [N, 2] of a sequence.

    bucket: what is wanted; of latents, its times are latent times
    """
    views = even_indices(have[0], bucket.views)
    if rng.random() < augment.reverse_views:
        views = views[::-1]
    times = _choose_times(have[1], bucket.times, augment, rng)
    if context == FIXED_VIEW:
        return np.stack([np.full_like(times, rng.integers(have[0])), times], axis=-1)
    if context == FREEZE_TIME:
        return np.stack([views, np.full_like(views, rng.integers(have[1]))], axis=-1)
    pairs = np.empty((len(views), len(times), 2), np.int64)
    pairs[..., 0], pairs[..., 1] = views[:, None], times
    return pairs


def _choose_times(have: int, want: int, augment: AugmentSettings, rng: np.random.Generator) -> Indices:
    if augment.times == "spread" or want == 1:
        return even_indices(have, want)
    stride = int(rng.integers(1, (have - 1) // (want - 1) + 1))
    start = int(rng.integers(have - (want - 1) * stride))
    return start + stride * np.arange(want)


def choose_given(
    stage: Stage, shape: Sequence[int], drop: float, mixture: MixtureSettings, rng: np.random.Generator
) -> Tensor:
    """Which frames of a sample are given, [N] or [V, T] bool. `drop`: probability that a grid is given none."""
    if stage == "upsampler":
        return torch.zeros(*shape, dtype=torch.bool)
    if stage == "base":
        return _random_given(shape[0], mixture, rng)
    given = border_given(shape[0], shape[1])
    return torch.zeros_like(given) if rng.random() < drop else given


def _random_given(frames: int, mixture: MixtureSettings, rng: np.random.Generator) -> Tensor:
    """Random frame masking [N]: often the first frame alone, which is what a grid gives to most of its sequences, or
    both ends; otherwise any subset that leaves a frame to predict."""
    given = torch.zeros(frames, dtype=torch.bool)
    drawn = rng.random()
    if drawn < mixture.first_frame_alone:
        given[0] = True
    elif drawn < mixture.first_frame_alone + mixture.both_ends:
        given[[0, -1]] = True
    else:
        given[rng.permutation(frames)[: rng.integers(frames)]] = True
    if given.all():  # a sequence of one frame, or of two
        given[-1] = False
    return given
