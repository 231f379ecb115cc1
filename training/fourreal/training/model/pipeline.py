"""One call from videos to a grid: what a user of a trained model holds.

    pipe = load("outputs/demo/model")
    grid = pipe(fixed_view=video, freeze_time=orbit, steps=4, seed=0)
    grid.frames                                   # uint8 [V, T, H, W, 3]

Shape legend: V views, T times, H W pixels. Frames are uint8 RGB, [V, T, H, W, 3].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fourreal.training.model.backbones.base import Text
from fourreal.training.model.codec import Codec, Device, PixelCodec
from fourreal.training.model.grid_model import GridModel
from fourreal.training.model.pretrained import load_model, read_description, save_pretrained
from fourreal.training.model.sampling import (
    NO_GUIDANCE,
    Guidance,
    SamplerName,
    Sampling,
    sample_grids,
)
from fourreal.training.model.upsampler import Upsampler
from fourreal.training.model.videos import Conditions, conditions_of
from fourreal.training.model.windows import Frames, Mask, Windows, fill_in_windows

TextEncoder = Callable[[list[str]], Text]
"""B captions to their embeddings."""

Prompt = str | Text


@dataclass(frozen=True)
class Generated:
    """A filled grid: frames uint8 [V, T, H, W, 3], which of them were given, bool [V, T], and how it was made."""

    frames: Frames
    given: Mask
    record: dict[str, Any]


@dataclass
class Pipeline:
    """A grid model and what it takes to use it. `training` is what its export says of how it was made."""

    model: GridModel
    codec: Codec = field(default_factory=PixelCodec)
    text_encoder: TextEncoder | None = None
    upsampler: Upsampler | None = None
    training: dict[str, Any] = field(default_factory=dict)

    def to(self, device: Device) -> None:
        """Move the model, and its autoencoder and upsampler if it has them."""
        self.model.to(device)
        self.codec.to(device)
        if self.upsampler is not None:
            self.upsampler.to(device)

    def compile(self, backend: str = "inductor") -> None:
        """Compile the model as one graph, which pays for small sizes, where launching kernels takes the time.

        The first call at each size takes longer. `inductor` needs a C++ compiler on the CPU.
        """
        self.model.compile(backend=backend, fullgraph=True)

    def save_pretrained(self, folder: str | Path, training: dict[str, Any] | None = None) -> Path:
        """Write model and autoencoder: weights as safetensors, configuration, and a model card."""
        path = save_pretrained(self.model, folder, self.training if training is None else training)
        self.codec.save(path)
        return path

    def __call__(
        self,
        *,
        fixed_view: Frames | None = None,
        freeze_time: Frames | None = None,
        views: int | None = None,
        times: int | None = None,
        prompt: Prompt | None = None,
        negative_prompt: Prompt | None = None,
        steps: int = 4,
        seed: int = 0,
        sampler: SamplerName = "euler",
        shift: float = 1.0,
        guidance: Guidance = NO_GUIDANCE,
        windows: Windows | None = None,
    ) -> Generated:
        """The grid of a fixed-view video [T, H, W, 3] and a freeze-time video [V, H, W, 3], or of one of them.

        views, times: how long the axis shall be along which no video is given
        prompt, negative_prompt: captions, or their embeddings for one grid, where the backbone reads text
        windows: for grids larger than the model was trained on; without, the grid is made at once
        ValueError, naming both sides, for what does not fit.
        """
        conditions = conditions_of(fixed_view, freeze_time, views, times)
        sampling = Sampling(steps, sampler, shift, guidance)
        return self.fill(
            conditions, sampling, seed=seed, prompt=prompt, negative_prompt=negative_prompt, windows=windows
        )

    def fill(
        self,
        conditions: Conditions,
        sampling: Sampling,
        *,
        seed: int = 0,
        prompt: Prompt | None = None,
        negative_prompt: Prompt | None = None,
        windows: Windows | None = None,
    ) -> Generated:
        """Like a call, from any subset of a grid's frames.

        FloatingPointError when the model makes numbers that are not finite.
        """
        if sampling.guidance.frames != 1 and not conditions.given.any():
            raise ValueError(f"guidance of frames at {sampling.guidance.frames} needs given frames; give some")
        text, negative = self._text(prompt, "prompt"), self._text(negative_prompt, "negative prompt")
        if text is None and not conditions.given.any():
            raise ValueError("neither frames nor a prompt were given; a grid cannot be made from nothing")

        def make(frames: Frames, given: Mask, seed: int) -> Frames:
            return self._make(Conditions(frames, given), sampling, seed, text, negative)

        record = {**dataclasses.asdict(sampling), "seed": seed}
        if windows is None:
            return Generated(make(conditions.frames, conditions.given, seed), conditions.given, record)
        frames, made = fill_in_windows(make, conditions.frames, conditions.given, windows, seed)
        return Generated(frames, conditions.given, {**record, "windows": made})

    def upsample(
        self, frames: Frames, sampling: Sampling | None = None, *, seed: int = 0, augmentation: float = 0.0
    ) -> Frames:
        """Frames [V, T, h, w, 3] of this model made larger (`Upsampler.upsample`). ValueError without an upsampler."""
        if self.upsampler is None:
            raise ValueError("this pipeline has no upsampler; load it with upsampler=FOLDER of an exported one")
        return self.upsampler.upsample(frames, sampling, seed=seed, augmentation=augmentation)

    @torch.no_grad()
    def _make(
        self, conditions: Conditions, sampling: Sampling, seed: int, text: Text | None, negative: Text | None
    ) -> Frames:
        device = next(self.model.parameters()).device
        keep = conditions.given[..., None, None, None]
        known = np.where(keep, conditions.frames, 0)  # what is not given stays out of the model's reach
        clean = torch.from_numpy(known).to(device).permute(0, 1, 4, 2, 3) / 127.5 - 1
        coded, given = self.codec.encode(clean, torch.from_numpy(conditions.given).to(device))
        made = sample_grids(self.model, coded[None], given[None], [seed], sampling, text=text, negative=negative)[0]
        frames = self.codec.decode(made)
        if not torch.isfinite(frames).all():
            raise FloatingPointError("the model made numbers that are not finite: train it further")
        pixels = ((frames + 1) * 127.5).round().to(torch.uint8).permute(0, 1, 3, 4, 2).cpu().numpy()
        result: npt.NDArray[np.uint8] = np.where(keep, conditions.frames, pixels)
        return result

    def _text(self, prompt: Prompt | None, name: str) -> Text | None:
        if not isinstance(prompt, str):
            text = prompt
        elif self.text_encoder is None:
            raise ValueError(
                f"the {name} is a string and this pipeline has no text encoder; "
                f"pass its embeddings as Text, or load the pipeline with text_encoder"
            )
        else:
            text = self.text_encoder([prompt])
        if text is None:
            return None
        if text.embeddings.ndim != 3 or text.embeddings.shape[0] != 1:
            raise ValueError(
                f"the {name}'s embeddings are {tuple(text.embeddings.shape)}; one grid reads [1, tokens, width]"
            )
        device = next(self.model.parameters()).device
        return Text(text.embeddings.to(device), None if text.mask is None else text.mask.to(device))


def load(
    folder: str | Path,
    *,
    upsampler: str | Path | None = None,
    device: Device = "cpu",
    text_encoder: TextEncoder | None = None,
) -> Pipeline:
    """The pipeline of an exported grid model, and of an exported upsampler if there is one.

    A model of latents has its autoencoder in the folder `vae` beside its weights.

    ValueError, in one sentence, when the folder is no grid model or lacks its autoencoder.
    """
    model = load_model(folder, "grid")
    codec = make_codec(model, folder)
    larger = None if upsampler is None else load_model(upsampler, "upsampler")
    pipeline = Pipeline(model, codec, text_encoder, larger, read_description(folder)["training"])
    pipeline.to(device)
    return pipeline


def make_codec(model: GridModel, folder: str | Path) -> Codec:
    """What lies between frames and a model: nothing for pixels, the autoencoder in the model's folder for Wan."""
    if model.backbone.name == "pixel":
        return PixelCodec()
    if model.backbone.name == "wan":
        from fourreal.training.model.backbones.wan_codec import WanCodec

        codec = WanCodec.from_pretrained(folder)
        channels = codec.vae.config.z_dim
        if channels != model.backbone.channels:
            raise ValueError(
                f"{folder}: the autoencoder makes latents of {channels} channels and the model reads "
                f"{model.backbone.channels}; save the autoencoder that belongs to the model"
            )
        return codec
    raise ValueError(
        f"{folder} holds a model of latents ({model.backbone.name}) for which fourreal has no autoencoder; "
        f"build Pipeline(model, codec) with one of your own"
    )
