"""At which diffusion times a sampler looks, and the noise it starts from. Plain numbers, so that no loop waits for a
device to tell them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fourreal.training.model.flow import shift_time


def time_schedule(steps: int, shift: float = 1.0) -> list[float]:
    """Diffusion times, steps + 1 of them, from 1 (noise) down to 0 (data): even ones, shifted.

    A shift k above 1 spends more of the steps at high noise, s' = k s / (1 + (k - 1) s) (Stable Diffusion 3, Esser et
    al. 2024, section 5.3.2; Wan uses 3 to 5 for larger frames). ValueError below one step or for k <= 0.
    """
    if steps < 1:
        raise ValueError(f"{steps} sampling steps make no sample; ask for at least 1")
    if not 0 < shift < float("inf"):
        raise ValueError(f"a time shift of {shift} is no positive number; 1 leaves the times even, 3 is Wan's")
    return [shift_time(1 - step / steps, shift) for step in range(steps + 1)]


def seeded_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Noise [B, *shape], each sample drawn from its own seed, so that it does not depend on its batch."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
