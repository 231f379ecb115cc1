"""What a step minimises: the velocity loss of a batch, whole or computed in parts.

All that is random about it is drawn at once for the whole batch, so the number of parts does not change what is learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fourreal.training.data.batches import Batch, clean_frames
from fourreal.training.engine.base import Engine
from fourreal.training.model import Backbone, BackboneConfig, GridModel, Text, Upsampler, UpsamplerConfig
from fourreal.training.model.flow import TimeSampling, add_noise, draw_noise, sample_times, velocity_error, weighted
from fourreal.training.model.upsampler import draw_upsampling, upsampling_error

Forward = Callable[..., Tensor]
Drawn = dict[str, Tensor]
"""A batch and its noise by name. Every tensor has the samples first; "given" [B, F] is always there, and "time" [B]."""


class Objective(Protocol):
    """A loss in two halves: one draws, the other computes and may be called with some of the samples only."""

    def draw(self, batch: Batch, generator: torch.Generator, device: torch.device) -> Drawn:
        """A batch with its diffusion times, and noise on the device; `generator` is one of the CPU."""

    def error(self, forward: Forward, drawn: Drawn) -> Tensor:
        """The squared error of each frame, [B, F], 0 where frames are given."""


class FlowObjective:
    """Velocity loss of sequences (base stage) or grids (grid stage)."""

    def __init__(self, config: BackboneConfig, sampling: TimeSampling) -> None:
        self.config, self.sampling = config, sampling

    def draw(self, batch: Batch, generator: torch.Generator, device: torch.device) -> Drawn:
        """See `Objective`."""
        drawn = {"frames": batch.frames, "given": batch.given}
        drawn["time"] = sample_times(len(batch.frames), generator, self.sampling)
        drawn["noise"] = draw_noise(batch.clean_shape, generator, device)
        if batch.context is not None:
            drawn["context"] = batch.context
        if batch.text is not None:
            drawn["text"] = batch.text.embeddings
        return drawn

    def error(self, forward: Forward, drawn: Drawn) -> Tensor:
        """See `Objective`."""
        noise, time, given = (drawn[name] for name in ("noise", "time", "given"))
        clean = clean_frames(drawn["frames"])
        context = [drawn["context"]] if "context" in drawn else []
        text = Text(drawn["text"].float()) if "text" in drawn else None
        prediction = forward(add_noise(clean, noise, time, given), time, given, *context, text)
        error = velocity_error(prediction, clean, noise, time, given, config=self.config)
        return weighted(error, time, self.sampling, self.config)


class UpsamplerObjective:
    """Velocity loss of the upsampler on fixed-view sequences at its high resolution."""

    def __init__(self, config: UpsamplerConfig, sampling: TimeSampling) -> None:
        self.config, self.sampling = config, sampling

    def draw(self, batch: Batch, generator: torch.Generator, device: torch.device) -> Drawn:
        """See `Objective`."""
        drawn = draw_upsampling(batch.clean_shape, self.config, generator, device, self.sampling)
        return {"frames": batch.frames, "given": batch.given, **drawn}

    def error(self, forward: Forward, drawn: Drawn) -> Tensor:
        """See `Objective`."""
        error = upsampling_error(forward, self.config, clean_frames(drawn["frames"]), drawn)
        return weighted(error, drawn["time"], self.sampling, self.config.backbone)


def objective_of(model: nn.Module, sampling: TimeSampling) -> Objective:
    """What a model is trained to minimise."""
    if isinstance(model, Upsampler):
        return UpsamplerObjective(model.config, sampling)
    assert isinstance(model, Backbone | GridModel)
    return FlowObjective(model.config, sampling)


@dataclass(frozen=True)
class BatchLoss:
    """A batch's loss on one worker, and what it is made of."""

    mean: float
    times: tuple[float, ...]
    """The diffusion time of each sample."""
    losses: tuple[float, ...]
    """The loss of each sample."""
    sources: tuple[int, ...]
    """The number of the folder that each sample is from."""
    shape: tuple[int, ...]
    """Of the clean frames, [B, N, C, H, W] or [B, V, T, C, H, W]."""


def accumulate(
    engine: Engine, objective: Objective, batch: Batch, generator: torch.Generator, parts: int, device: torch.device
) -> BatchLoss:
    """Forward and backward of a batch, in `parts` of equal size one after the other; the gradients add up."""
    drawn = objective.draw(batch, generator, device)
    unknown = (~drawn["given"]).flatten(1).sum(dim=1)
    losses: list[Tensor] = []
    for part in _split(drawn, parts):
        error = objective.error(engine.forward, {name: tensor.to(device) for name, tensor in part.items()})
        engine.backward(error.sum() / unknown.sum().to(device))
        losses.append(error.detach().flatten(1).sum(dim=1))
    # The one place of a step that waits for the device.
    sums = torch.cat(losses).double().cpu()
    means = sums / unknown.clamp_min(1)
    return BatchLoss(
        mean=float(sums.sum() / unknown.sum()),
        times=tuple(drawn["time"].tolist()),
        losses=tuple(means.tolist()),
        sources=tuple(batch.sources.tolist()),
        shape=tuple(drawn["noise"].shape),
    )


def _split(drawn: Drawn, parts: int) -> Iterator[Drawn]:
    size = len(drawn["given"]) // parts
    for part in range(parts):
        yield {name: tensor[part * size : (part + 1) * size] for name, tensor in drawn.items()}
