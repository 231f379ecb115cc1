"""Sampling: solvers as pure functions, schedules, guidance, and grids made with them."""

from fourreal.training.model.flow import shift_time
from fourreal.training.model.sampling.grids import (
    SAMPLERS,
    SamplerName,
    Sampling,
    border_given,
    generate_grids,
    sample_grids,
)
from fourreal.training.model.sampling.guidance import NO_GUIDANCE, Guidance, grid_velocity, sequence_velocity
from fourreal.training.model.sampling.schedule import seeded_noise, time_schedule
from fourreal.training.model.sampling.solvers import Sampler, Velocity, sample_euler, sample_heun
from fourreal.training.model.sampling.unipc import sample_unipc

__all__ = [
    "NO_GUIDANCE",
    "SAMPLERS",
    "Guidance",
    "Sampler",
    "SamplerName",
    "Sampling",
    "Velocity",
    "border_given",
    "generate_grids",
    "grid_velocity",
    "sample_euler",
    "sample_grids",
    "sample_heun",
    "sample_unipc",
    "seeded_noise",
    "sequence_velocity",
    "shift_time",
    "time_schedule",
]
