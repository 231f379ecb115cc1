"""Samplers as pure functions of a velocity field (the shape of k-diffusion's `sample_*`), and what they start from.

Shape legend: B samples, F any frame axes (N of a sequence, or V T of a grid), C H W pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from fourreal.training.model.backbones.base import Backbone
from fourreal.training.model.flow import to_velocity
from fourreal.training.model.grid_model import GridModel


class Velocity(Protocol):
    """A velocity field: noisy frames [B, F, C, H, W] and diffusion time [B] to velocity [B, F, C, H, W]."""

    def __call__(self, noisy: Tensor, time: Tensor) -> Tensor:
        """Velocity at this time."""


def time_schedule(steps: int) -> Tensor:
    """Diffusion times of an even schedule, [steps + 1], from 1 (noise) down to 0 (data). ValueError below one step."""
    if steps < 1:
        raise ValueError(f"{steps} sampling steps make no sample; ask for at least 1")
    return torch.linspace(1, 0, steps + 1)


def seeded_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Noise [B, *shape], each sample drawn from its own seed, so that it does not depend on its batch."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@torch.no_grad()
def sample_euler(
    velocity: Velocity,
    noise: Tensor,
    clean: Tensor,
    given: Tensor,
    times: Tensor,
    *,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Integrate dz/ds from noise to data with Euler's method (rectified flow, Liu et al. 2022, algorithm 1).

    noise, clean: [B, F, C, H, W], of `clean` only the given frames are read; given: [B, F] bool;
    times: [steps + 1] falling from 1 to 0; callback(step, z) after each step.
    Given frames come back exactly as they are in `clean`.
    """
    keep = given[..., None, None, None]
    z = torch.where(keep, clean, noise)
    for step, (now, after) in enumerate(itertools.pairwise(times)):
        moved = z + (after - now) * velocity(z, now.expand(z.shape[0]))
        z = torch.where(keep, clean, moved)
        if callback is not None:
            callback(step, z)
    return z


def grid_velocity(model: GridModel, given: Tensor) -> Velocity:
    """The velocity field of a grid model with the frames `given` [B, V, T]."""

    def velocity(noisy: Tensor, time: Tensor) -> Tensor:
        return to_velocity(model(noisy, time, given), noisy, time, model.config)

    return velocity


def sequence_velocity(model: Backbone, given: Tensor, context: Tensor) -> Velocity:
    """The velocity field of a base model with the frames `given` [B, N] in the modes `context` [B]."""

    def velocity(noisy: Tensor, time: Tensor) -> Tensor:
        return to_velocity(model(noisy, time, given, context), noisy, time, model.config)

    return velocity


def border_given(views: int, times: int) -> Tensor:
    """The task's condition, [V, T] bool: the fixed-view video x[0, :] and the freeze-time video x[:, 0]."""
    given = torch.zeros(views, times, dtype=torch.bool)
    given[0, :] = True
    given[:, 0] = True
    return given


def generate_grids(model: GridModel, clean: Tensor, given: Tensor, steps: int, seeds: Sequence[int]) -> Tensor:
    """Fill the frames of [B, V, T, C, H, W] in [-1, 1] that are not `given` [B, V, T]; one seed per grid.

    Runs on the device of `clean`, with the model in evaluation mode as it stands. ValueError when the seeds do not
    match the batch.
    """
    if len(seeds) != clean.shape[0]:
        raise ValueError(f"{len(seeds)} seeds for {clean.shape[0]} grids; give one seed per grid")
    noise = seeded_noise(seeds, clean.shape[1:]).to(clean)
    return sample_euler(grid_velocity(model, given), noise, clean, given, time_schedule(steps).to(clean)).clamp(-1, 1)
