"""Grids from their given frames: a sampler, a velocity field and seeded noise put together.

Shape legend: B grids, V views, T times, C H W numbers of a frame (pixels or latents).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from fourreal.training.model.backbones.base import Text
from fourreal.training.model.grid_model import GridModel
from fourreal.training.model.sampling.guidance import NO_GUIDANCE, Guidance, grid_velocity
from fourreal.training.model.sampling.schedule import seeded_noise, time_schedule
from fourreal.training.model.sampling.solvers import Sampler, sample_euler, sample_heun
from fourreal.training.model.sampling.unipc import sample_unipc

SamplerName = Literal["euler", "heun", "unipc"]
SAMPLERS: dict[str, Sampler] = {"euler": sample_euler, "heun": sample_heun, "unipc": sample_unipc}


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn: solver, steps, shift of the diffusion times, guidance. ValueError for senseless ones."""

    steps: int = 4
    sampler: SamplerName = "euler"
    shift: float = 1.0
    guidance: Guidance = NO_GUIDANCE

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler {self.sampler!r} is unknown; choose one of {', '.join(get_args(SamplerName))}")
        time_schedule(self.steps, self.shift)

    @property
    def times(self) -> list[float]:
        """See `time_schedule`."""
        return time_schedule(self.steps, self.shift)


def border_given(views: int, times: int) -> Tensor:
    """The task's condition, [V, T] bool: the fixed-view video x[0, :] and the freeze-time video x[:, 0]."""
    given = torch.zeros(views, times, dtype=torch.bool)
    given[0, :] = True
    given[:, 0] = True
    return given


def sample_grids(
    model: GridModel,
    clean: Tensor,
    given: Tensor,
    seeds: Sequence[int],
    sampling: Sampling,
    *,
    text: Text | None = None,
    negative: Text | None = None,
) -> Tensor:
    """Fill the frames of [B, V, T, C, H, W] that are not `given` [B, V, T]; one seed per grid, captions for B grids.

    Runs on the device of `clean`, with the model in evaluation mode as it stands. ValueError when the seeds do not
    match the batch, or guidance lacks what it needs.
    """
    if len(seeds) != clean.shape[0]:
        raise ValueError(f"{len(seeds)} seeds for {clean.shape[0]} grids; give one seed per grid")
    noise = seeded_noise(seeds, clean.shape[1:]).to(clean)
    velocity = grid_velocity(model, given, noise, guidance=sampling.guidance, text=text, negative=negative)
    return SAMPLERS[sampling.sampler](velocity, noise, clean, given, sampling.times)


def generate_grids(model: GridModel, clean: Tensor, given: Tensor, steps: int, seeds: Sequence[int]) -> Tensor:
    """`sample_grids` with Euler's method for pixels: frames in [-1, 1], and clamped to it."""
    return sample_grids(model, clean, given, seeds, Sampling(steps)).clamp(-1, 1)
