"""Wan's autoencoder (Wan Team 2025, arXiv 2503.20314, section 4.1) on diffusers' `AutoencoderKLWan`.

Shape legend: as in `codec.py`.

A view's T = 4k + 1 frames become t = k + 1 latent frames: the first alone, then four by four, each coded from itself
and what came before it. So of each view the frames of times 0 to 4k may be given, or none: from later ones alone no
latent can be made. Latents are scaled by the mean and spread of each channel that are published with the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from fourreal.training.model.backbones.diffusers_parts import check_class
from fourreal.training.model.backbones.wan import latent_times
from fourreal.training.model.codec import Device

VAE_FOLDER = "vae"


class WanCodec:
    """See the top of this module. One view at a time is coded: memory is that of one video."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.vae: Any = vae.eval().requires_grad_(False)
        config = self.vae.config
        if config.scale_factor_temporal != 4:
            raise ValueError(f"this autoencoder joins {config.scale_factor_temporal} times in a latent; 4 are needed")
        self._pixels: int = config.scale_factor_spatial
        self._mean, self._std = (
            torch.tensor(numbers).view(1, -1, 1, 1, 1) for numbers in (config.latents_mean, config.latents_std)
        )
        if self._mean.shape[1] != config.z_dim or self._std.shape[1] != config.z_dim:
            raise ValueError(
                f"this autoencoder has latents of {config.z_dim} channels and states the mean of {self._mean.shape[1]} "
                f"and the spread of {self._std.shape[1]}; its config.json must give both for each channel"
            )

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype | None = None) -> Self:
        """The autoencoder of a diffusers folder, or of the `vae` folder in it. ValueError when there is none."""
        path = Path(folder) / VAE_FOLDER if (Path(folder) / VAE_FOLDER).is_dir() else Path(folder)
        found = AutoencoderKLWan.load_config(path).get("_class_name") if (path / "config.json").is_file() else None
        if found is None:
            raise ValueError(f"{folder} holds no autoencoder (no {VAE_FOLDER}/config.json); save Wan's `vae` there")
        check_class(path, found, "AutoencoderKLWan")
        try:
            vae = AutoencoderKLWan.from_pretrained(path, torch_dtype=dtype, local_files_only=True, use_safetensors=True)
        except OSError as error:
            raise ValueError(f"the autoencoder of {path} cannot be read ({error}); save it again") from error
        return cls(vae)

    def encode(self, frames: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """See `Codec`. Latents of frames that are not given are zero."""
        views, times, _, height, width = frames.shape
        latents = latent_times(times)
        if height % self._pixels or width % self._pixels:
            raise ValueError(
                f"frames of {height}x{width} pixels do not split into the latents of this autoencoder, "
                f"{self._pixels}x{self._pixels} pixels each; crop the frames"
            )
        shape = (views, latents, self.vae.config.z_dim, height // self._pixels, width // self._pixels)
        coded = frames.new_zeros(shape)
        known = torch.zeros(views, latents, dtype=torch.bool, device=given.device)
        for view, flags in enumerate(given.tolist()):
            if any(flags):
                count = _prefix(view, flags)
                latent = self._encode(frames[view, :count])
                coded[view, : len(latent)], known[view, : len(latent)] = latent, True
        return coded, known

    def decode(self, coded: Tensor) -> Tensor:
        """See `Codec`."""
        return torch.stack([self._decode(view) for view in coded])

    def to(self, device: Device) -> None:
        """See `Codec`."""
        self.vae.to(device)

    def save(self, folder: Path) -> None:
        """See `Codec`: in diffusers' format, as safetensors."""
        self.vae.save_pretrained(folder / VAE_FOLDER, safe_serialization=True)

    @torch.no_grad()
    def _encode(self, video: Tensor) -> Tensor:
        latents = self.vae.encode(_as_video(video).to(self.vae.dtype)).latent_dist.mode().float()
        scaled = (latents - self._mean.to(latents)) / self._std.to(latents)
        return _as_frames(scaled).to(video)

    @torch.no_grad()
    def _decode(self, latents: Tensor) -> Tensor:
        video = _as_video(latents).float()
        video = video * self._std.to(video) + self._mean.to(video)
        return _as_frames(self.vae.decode(video.to(self.vae.dtype)).sample).to(latents).clamp(-1, 1)


def _prefix(view: int, flags: list[bool]) -> int:
    """How many frames are given, all from time 0 on and 4k + 1 of them. ValueError for others."""
    count = sum(flags)
    if not all(flags[:count]) or count % 4 != 1:
        times = [time for time, flag in enumerate(flags) if flag]
        raise ValueError(
            f"of view {view} the times {times} are given, and this autoencoder codes a view from its first frame on, "
            f"then four by four; give the times 0 to 4k of a view, or none of them"
        )
    return count


def _as_video(frames: Tensor) -> Tensor:
    return frames.transpose(0, 1)[None]


def _as_frames(video: Tensor) -> Tensor:
    return video[0].transpose(0, 1)
