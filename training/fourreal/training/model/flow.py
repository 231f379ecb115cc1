"""Rectified flow with velocity matching.

Convention, stated once: diffusion time s = 1 is noise and s = 0 is data,

    z_s = (1 - s) x + s e,    velocity = dz/ds = e - x.

Shape legend: B samples, F any frame axes (N of a sequence, or V T of a grid), C H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from fourreal.training.model.backbones.base import BackboneConfig

Time = TypeVar("Time", float, Tensor)

_LEAST_ERROR = 1e-4
"""Squared error of frames between -1 and 1 below which its logarithm is flat: 46 dB."""


@dataclass(frozen=True)
class TimeSampling:
    """Which diffusion times are trained on.

    Generation starts at time 1, where all of the content is decided, and a continuous density visits 1 never: so a
    part of the samples has exactly 1. Measured at tiny scale: uniform with a quarter at 1 beat a logit-normal density
    without by up to 2 dB.
    """

    density: Literal["uniform", "logit-normal"] = "uniform"
    """Of the times that are not 1; logit-normal is Stable Diffusion 3's (Esser et al. 2024, section 3.1)."""
    logit_mean: float = 0.0
    """Of the logit-normal density; above 0 is nearer to noise."""
    logit_std: float = 1.0
    """Of the logit-normal density."""
    shift: float = 1.0
    """Moves these times towards noise, s' = k s / (1 + (k - 1) s) (the same, section 5.3.2); 1 leaves them."""
    pure_noise: float = 0.25
    """The part of the samples whose time is exactly 1."""
    weight: Literal["velocity", "clean", "log"] = "velocity"
    """What error counts: the velocity's, largest where there is little noise; the clean frames', which is the
    velocity's times the square of the time, largest where all of the content is decided; or the logarithm of the clean
    frames', as in PSNR, to which easy frames and hard ones count alike."""

    def __post_init__(self) -> None:
        if not 0 <= self.pure_noise <= 1:
            raise ValueError(f"pure_noise is {self.pure_noise}; give a part between 0 and 1, 0.25 is a good value")
        if not 0 < self.shift < float("inf"):
            raise ValueError(f"a time shift of {self.shift} is no positive number; 1 leaves the times, 3 is Wan's")
        if self.logit_std <= 0:
            raise ValueError(f"logit_std is {self.logit_std}; give a positive number")


def sample_times(batch: int, generator: torch.Generator, sampling: TimeSampling | None = None) -> Tensor:
    """Diffusion times [B] for training, each in [0, 1]."""
    sampling = sampling or TimeSampling()
    if sampling.density == "uniform":
        times = torch.rand(batch, generator=generator)
    else:
        logits = sampling.logit_mean + sampling.logit_std * torch.randn(batch, generator=generator)
        times = logits.sigmoid()
    pure_noise = torch.rand(batch, generator=generator) < sampling.pure_noise
    return torch.where(pure_noise, torch.ones_like(times), shift_time(times, sampling.shift))


def draw_noise(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers on the device; `generator` is one of the CPU.

    On a CPU they are the generator's own. A GPU draws its own from a seed of it: drawn on the CPU, they would take
    longer than all else in a step of a small model.
    """
    if device.type == "cpu":
        return torch.randn(*shape, generator=generator)
    seed = int(torch.randint(1 << 62, (), generator=generator))
    return torch.randn(*shape, generator=torch.Generator(device).manual_seed(seed), device=device)


def shift_time(time: Time, shift: float) -> Time:
    """k s / (1 + (k - 1) s)."""
    return shift * time / (1 + (shift - 1) * time)


def add_noise(clean: Tensor, noise: Tensor, time: Tensor, given: Tensor) -> Tensor:
    """z_s of the unknown frames, given frames untouched. clean, noise [B, F, C, H, W]; time [B]; given [B, F] bool."""
    s = _like(time, clean)
    return torch.where(given[..., None, None, None], clean, (1 - s) * clean + s * noise)


def to_velocity(prediction: Tensor, noisy: Tensor, time: Tensor, config: BackboneConfig) -> Tensor:
    """A model's output [B, F, C, H, W] as velocity, [B, F, C, H, W]; time [B].

    A clean prediction x becomes (z - x) / max(s, time_floor); the floor keeps the division bounded as noise vanishes
    (Li and He 2025, "Back to Basics: Let Denoising Generative Models Denoise").
    """
    if config.prediction == "velocity":
        return prediction
    return (noisy - prediction) / _like(time.clamp_min(config.time_floor), noisy)


def to_clean(prediction: Tensor, noisy: Tensor, time: Tensor, config: BackboneConfig) -> Tensor:
    """A model's output [B, F, C, H, W] as clean frames."""
    return noisy - _like(time, noisy) * prediction if config.prediction == "velocity" else prediction


def velocity_error(
    prediction: Tensor, clean: Tensor, noise: Tensor, time: Tensor, given: Tensor, *, config: BackboneConfig
) -> Tensor:
    """Mean squared velocity error of each frame, [B, F], 0 where frames are given. Shapes as in `add_noise`.

    Prediction and target go through the same conversion, so that an exact clean prediction has zero loss below the
    floor too.
    """
    noisy = add_noise(clean, noise, time, given)
    target = noise - clean if config.prediction == "velocity" else to_velocity(clean, noisy, time, config)
    error = (to_velocity(prediction, noisy, time, config) - target).square().mean(dim=(-3, -2, -1))
    return error * (~given).to(error)


def weighted(error: Tensor, time: Tensor, sampling: TimeSampling, config: BackboneConfig) -> Tensor:
    """`velocity_error` [B, F] as `sampling` weighs it; time [B]."""
    if sampling.weight == "velocity":
        return error
    clean = error * _like(time.clamp_min(config.time_floor).square(), error)
    return clean if sampling.weight == "clean" else torch.log1p(clean / _LEAST_ERROR)


def velocity_loss(
    prediction: Tensor, clean: Tensor, noise: Tensor, time: Tensor, given: Tensor, *, config: BackboneConfig
) -> Tensor:
    """Mean of `velocity_error` over the frames that are not given, of which there must be one; a scalar."""
    return velocity_error(prediction, clean, noise, time, given, config=config).sum() / (~given).sum()


def _like(time: Tensor, frames: Tensor) -> Tensor:
    return time.view(-1, *(1 for _ in frames.shape[1:]))
