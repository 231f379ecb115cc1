"""The diffusion upsampler behind the grid model (4Real-Video section 2: 72x128 to 288x512).

Shape legend: B samples, V views, T times, N frames of a sequence, h w pixels of the low resolution, H W of the high.

A pixel transformer over fixed-view sequences. Beside the noisy frame it reads the low-resolution frame, resized, and
predicts the clean frame as a correction to it; at initialisation it is the bicubic resize. The paper gives no more
detail than that; what follows is ours:

- *Noise-conditioning augmentation* (Cascaded Diffusion Models, Ho et al. 2022, section 4.2). What the grid model makes
  is not what training shrinks. So training noises the low-resolution frame, before it is resized, to a level a drawn
  evenly from [0, most_augmentation], (1 - a) x + a e, and tells the level in a channel of its own. At use a small level
  lets the upsampler mend what the grid model did badly; 0 trusts it.
- Sequences of at most `frames`; longer videos are cut into such.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fourreal.training.model.backbones.base import FIXED_VIEW
from fourreal.training.model.backbones.pixel import PixelBackbone
from fourreal.training.model.backbones.pixel_config import PixelConfig
from fourreal.training.model.flow import TimeSampling, add_noise, draw_noise, sample_times, to_velocity, velocity_error
from fourreal.training.model.sampling import SAMPLERS, Sampling, seeded_noise
from fourreal.training.model.windows import Frames, seed_at

_CONDITION_CHANNELS = 4  # R, G, B of the low resolution, and the level of the noise on it


@dataclass(frozen=True)
class UpsamplerConfig:
    """From frames of low_height x low_width to those of the backbone. ValueError when they do not fit each other."""

    backbone: PixelConfig
    low_height: int
    low_width: int
    frames: int = 8
    most_augmentation: float = 0.5

    def __post_init__(self) -> None:
        size, low = (self.backbone.height, self.backbone.width), (self.low_height, self.low_width)
        if min(low) < 1 or size[0] <= low[0] or size[0] * low[1] != size[1] * low[0]:
            raise ValueError(
                f"frames of {low[0]}x{low[1]} pixels cannot be upsampled to {size[0]}x{size[1]}; "
                f"make the result larger and of the same aspect ratio"
            )
        if self.backbone.prediction != "clean" or self.backbone.condition_channels != _CONDITION_CHANNELS:
            raise ValueError(
                f"an upsampler's backbone predicts clean frames and reads {_CONDITION_CHANNELS} condition channels, "
                f"not {self.backbone.prediction} and {self.backbone.condition_channels}; use UpsamplerConfig.of_size"
            )
        if self.frames < 1 or not 0 <= self.most_augmentation < 1:
            raise ValueError(
                f"frames is {self.frames} and most_augmentation {self.most_augmentation}; "
                f"give at least 1 frame and a level in [0, 1)"
            )

    @classmethod
    def of_size(
        cls, size: str, low: tuple[int, int], high: tuple[int, int], *, frames: int = 8, **overrides: Any
    ) -> Self:
        """The upsampler of a named size (see `PixelConfig`) between frames of (height, width)."""
        shape = {"height": high[0], "width": high[1], "condition_channels": _CONDITION_CHANNELS}
        return cls(PixelConfig.of_size(size, **{**shape, **overrides}), *low, frames=frames)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. ValueError for fields this version does not know."""
        if unknown := sorted(set(values) - {field.name for field in dataclasses.fields(cls)}):
            raise ValueError(f"the upsampler's configuration has fields {unknown}, unknown to this version")
        return cls(**{**values, "backbone": PixelConfig.from_dict(values["backbone"])})


class Upsampler(nn.Module):
    """See the top of this module."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = PixelBackbone(config.backbone)

    def forward(self, noisy: Tensor, low: Tensor, level: Tensor, time: Tensor) -> Tensor:
        """Predict the clean frames [B, N, 3, H, W].

        noisy: [B, N, 3, H, W]; low: [B, N, 3, h, w], noised to `level` [B]; time: [B] diffusion time of `noisy`
        """
        resized = self.resize(low)
        told = level.view(-1, 1, 1, 1, 1).expand_as(resized[:, :, :1])
        given = torch.zeros(noisy.shape[:2], dtype=torch.bool, device=noisy.device)
        context = torch.full(noisy.shape[:1], FIXED_VIEW, device=noisy.device)
        correction: Tensor = self.backbone(torch.cat([noisy, resized, told], dim=2), time, given, context)
        return resized + correction

    def set_checkpointing(self, on: bool) -> None:
        """Keep the activations between the layers only, and compute those inside again for the gradient."""
        self.backbone.set_checkpointing(on)

    def resize(self, low: Tensor) -> Tensor:
        """Bicubic, [B, N, 3, h, w] to [B, N, 3, H, W]."""
        size = (self.config.backbone.height, self.config.backbone.width)
        resized = functional.interpolate(low.flatten(0, 1), size, mode="bicubic", align_corners=False)
        return torch.unflatten(resized, 0, low.shape[:2])

    @torch.no_grad()
    def upsample(
        self, frames: Frames, sampling: Sampling | None = None, *, seed: int = 0, augmentation: float = 0.0
    ) -> Frames:
        """Frames uint8 [V, T, h, w, 3] to [V, T, H, W, 3].

        augmentation: the level to which the frames are noised first. ValueError, naming both sides, for frames of
        another size, for guidance (there is nothing to drop), or for a level that was not trained.
        """
        sampling = sampling or Sampling()
        config = self.config
        if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[2:] != (config.low_height, config.low_width, 3):
            raise ValueError(
                f"frames are {frames.dtype} {frames.shape}, the upsampler reads uint8 "
                f"[V, T, {config.low_height}, {config.low_width}, 3]; resize them"
            )
        self.check_augmentation(augmentation)
        if sampling.guidance.frames != 1 or sampling.guidance.text != 1:
            raise ValueError("the upsampler has no guidance; leave its scales at 1")
        times = range(0, frames.shape[1], config.frames)
        made = np.empty((*frames.shape[:2], config.backbone.height, config.backbone.width, 3), np.uint8)
        for view, start in itertools.product(range(frames.shape[0]), times):
            piece = (view, slice(start, start + config.frames))
            made[piece] = self._piece(frames[piece], sampling, seed_at(seed, view, start), augmentation)
        return made

    def check_augmentation(self, level: float) -> None:
        """ValueError for a level that was not trained."""
        most = self.config.most_augmentation
        if not 0 <= level <= most:
            raise ValueError(
                f"augmentation {level} is outside the levels that this upsampler was trained with, 0 to {most}; "
                f"choose one inside"
            )

    def _piece(self, frames: Frames, sampling: Sampling, seed: int, augmentation: float) -> Frames:
        device = next(self.parameters()).device
        low = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)[None] / 127.5 - 1
        high = (*low.shape[1:3], self.config.backbone.height, self.config.backbone.width)
        noise = seeded_noise([seed], high).to(device)
        level = torch.full((1,), augmentation, device=device)
        given = torch.zeros(low.shape[:2], dtype=torch.bool, device=device)
        if augmentation > 0:
            low = add_noise(low, seeded_noise([seed_at(seed, 1, 0)], low.shape[1:]).to(device), level, given)

        def velocity(noisy: Tensor, time: Tensor) -> Tensor:
            return to_velocity(self(noisy, low, level, time), noisy, time, self.config.backbone)

        made = SAMPLERS[sampling.sampler](velocity, noise, noise, given, sampling.times)[0]
        if not torch.isfinite(made).all():
            raise FloatingPointError("the upsampler made numbers that are not finite: train it further")
        pixels: Frames = ((made.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return pixels


def shrink(frames: Tensor, config: UpsamplerConfig) -> Tensor:
    """Frames [B, N, 3, H, W] as the grid model would have made them, [B, N, 3, h, w]: means over areas."""
    low = functional.interpolate(frames.flatten(0, 1), (config.low_height, config.low_width), mode="area")
    return torch.unflatten(low, 0, frames.shape[:2])


def draw_upsampling(
    shape: torch.Size,
    config: UpsamplerConfig,
    generator: torch.Generator,
    device: torch.device,
    sampling: TimeSampling | None = None,
) -> dict[str, Tensor]:
    """What is random about the loss of frames of shape [B, N, 3, H, W], by name: noise on the device.

    `generator` is one of the CPU.
    """
    low_size = (*shape[:3], config.low_height, config.low_width)
    return {
        "time": sample_times(shape[0], generator, sampling),
        "noise": draw_noise(shape, generator, device),
        "level": torch.rand(shape[0], generator=generator) * config.most_augmentation,
        "low_noise": draw_noise(low_size, generator, device),
    }


def upsampling_error(
    forward: Callable[..., Tensor], config: UpsamplerConfig, frames: Tensor, drawn: dict[str, Tensor]
) -> Tensor:
    """Squared velocity error [B, N] of `forward`, an upsampler, on clean frames [B, N, 3, H, W] in [-1, 1]."""
    time, noise, level, low_noise = (drawn[name] for name in ("time", "noise", "level", "low_noise"))
    nothing = torch.zeros(frames.shape[:2], dtype=torch.bool, device=frames.device)
    low = add_noise(shrink(frames, config), low_noise, level, nothing)
    prediction = forward(add_noise(frames, noise, time, nothing), low, level, time)
    return velocity_error(prediction, frames, noise, time, nothing, config=config.backbone)


def upsampler_loss(model: Upsampler, frames: Tensor, generator: torch.Generator) -> Tensor:
    """Velocity loss of one batch of clean frames [B, N, 3, H, W] in [-1, 1]; a scalar.

    Diffusion times, noise and the levels of the augmentation are drawn from `generator`, a generator of the CPU.
    """
    drawn = draw_upsampling(frames.shape, model.config, generator, frames.device)
    on_device = {name: tensor.to(frames.device) for name, tensor in drawn.items()}
    return upsampling_error(model, model.config, frames, on_device).mean()
