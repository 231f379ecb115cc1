"""Samplers as pure functions of a velocity field (the shape of k-diffusion's `sample_*`).

Shape legend: B samples, F any frame axes (N of a sequence, or V T of a grid), C H W pixels.

All of them integrate dz/ds from noise to data and share their arguments:

    velocity      the field, called with the state [B, F, C, H, W] and the diffusion time [B]
    noise, clean  [B, F, C, H, W]; of `clean` only the given frames are read
    given         [B, F] bool; given frames come back exactly as they are in `clean`
    times         steps + 1 numbers, falling from 1 to 0 (`time_schedule`); the last may be above 0
    callback      called with (step, state) after each step

Coefficients are numbers of the host, made before the loop: no step waits for the device.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Velocity(Protocol):
    """A velocity field: noisy frames [B, F, C, H, W] and diffusion time [B] to velocity [B, F, C, H, W]."""

    def __call__(self, noisy: Tensor, time: Tensor) -> Tensor:
        """Velocity at this time."""


Callback = Callable[[int, Tensor], None]


class Sampler(Protocol):
    """What every `sample_*` function is; see the top of this module."""

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        clean: Tensor,
        given: Tensor,
        times: Sequence[float],
        *,
        callback: Callback | None = None,
    ) -> Tensor:
        """The samples [B, F, C, H, W]."""


@torch.no_grad()
def sample_euler(
    velocity: Velocity,
    noise: Tensor,
    clean: Tensor,
    given: Tensor,
    times: Sequence[float],
    *,
    callback: Callback | None = None,
) -> Tensor:
    """Euler's method (rectified flow, Liu et al. 2022, algorithm 1); first order, one evaluation a step."""
    keep = given[..., None, None, None]
    z = torch.where(keep, clean, noise)
    for step, (now, after) in enumerate(itertools.pairwise(times)):
        z = torch.where(keep, clean, z + (after - now) * velocity(z, time_of(z, now)))
        if callback is not None:
            callback(step, z)
    return z


@torch.no_grad()
def sample_heun(
    velocity: Velocity,
    noise: Tensor,
    clean: Tensor,
    given: Tensor,
    times: Sequence[float],
    *,
    callback: Callback | None = None,
) -> Tensor:
    """Heun's method (EDM, Karras et al. 2022, algorithm 1); second order, two evaluations a step.

    The step that ends at 0 is Euler's, as in the paper: a network that predicts clean frames has no velocity there.
    """
    keep = given[..., None, None, None]
    z = torch.where(keep, clean, noise)
    for step, (now, after) in enumerate(itertools.pairwise(times)):
        slope = velocity(z, time_of(z, now))
        moved = torch.where(keep, clean, z + (after - now) * slope)
        if after > 0:
            slope = (slope + velocity(moved, time_of(z, after))) / 2
            moved = torch.where(keep, clean, z + (after - now) * slope)
        z = moved
        if callback is not None:
            callback(step, z)
    return z


def time_of(z: Tensor, time: float) -> Tensor:
    """One diffusion time for each sample of z, [B]; filled on the device, not copied to it."""
    return torch.full((z.shape[0],), time, device=z.device, dtype=z.dtype)
