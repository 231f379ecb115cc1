"""A backbone and a view-time architecture: the model of a grid.

Shape legend: B grids, V views, T times, C H W numbers of a frame (pixels or latents).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from fourreal.training.model.architectures import Architecture, make_architecture
from fourreal.training.model.backbones.base import FIXED_VIEW, FREEZE_TIME, Backbone, BackboneConfig, Text
from fourreal.training.model.backbones.pixel_config import PixelConfig
from fourreal.training.model.given_blend import blend_of_given
from fourreal.training.model.grid import Axis, GridInput, to_grid, to_sequences
from fourreal.training.model.lora import LoraShape
from fourreal.training.model.policies import TrainPolicy, apply_policy, check_policy
from fourreal.training.model.references import OF_GRID, ReferenceEmbedding, grid_references
from fourreal.training.model.refinement import Refinement


class GridModel(nn.Module):
    """The view-time model.

    With V = 1 or T = 1 there is one video and nothing to couple: it is the base model itself, in every architecture.
    ValueError for an unknown architecture.
    """

    def __init__(self, backbone: Backbone, architecture: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.view_time = make_architecture(architecture, backbone)
        self.architecture = cast(Architecture, architecture)
        self.references: ReferenceEmbedding | None = None
        self.refinement: Refinement | None = None
        config = backbone.config
        if isinstance(config, PixelConfig) and config.references:
            self.references = ReferenceEmbedding(OF_GRID, config.channels, config.patch_size, config.hidden_dim)
        if isinstance(config, PixelConfig) and config.refinement:
            self.refinement = Refinement(OF_GRID, config.channels, config.refinement)

    @property
    def config(self) -> BackboneConfig:
        """The backbone's."""
        return self.backbone.config

    def set_checkpointing(self, on: bool) -> None:
        """Keep the activations between the layers only, and compute those inside again for the gradient."""
        self.view_time.checkpointing = on
        self.backbone.set_checkpointing(on)  # of one video

    def trainable_parameters(self, policy: TrainPolicy, lora: LoraShape | None = None) -> list[nn.Parameter]:
        """Mark what trains under a policy (`requires_grad`) and return it; `lora` puts new parameters in.

        ValueError for an unknown policy, or for one that leaves this architecture nothing to train.
        """
        check_policy(policy, self.architecture)
        apply_policy(policy, self.backbone, self.view_time, lora or LoraShape())
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None = None) -> Tensor:
        """Predict the clean grid, or its velocity where `config.prediction` says so: the mean of the streams.

        noisy: [B, V, T, C, H, W], given frames clean; given: [B, V, T] bool; text: B captions, where it reads any
        time:  [B] diffusion time of the unknown frames, or [B, V, T]; 1 is noise
        returns [B, V, T, C, H, W]. ValueError, naming both sides, when the grid does not fit the backbone.
        """
        predictions = self.stream_predictions(noisy, time, given, text)
        predicted = predictions[0] if len(predictions) == 1 else (predictions[0] + predictions[1]) / 2
        if self.refinement is None or _is_video(given):
            return predicted
        refined: Tensor = self.refinement(predicted, noisy, time, grid_references(noisy, given), given)
        return refined

    def stream_predictions(self, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None = None) -> list[Tensor]:
        """Each stream's own prediction [B, V, T, C, H, W]: view stream, time stream; other architectures have one.

        What `refinement` mends, it mends in their mean.
        """
        self._check(noisy, time, given)
        if _is_video(given):
            return [self._predict_video(noisy, time, given, text)]
        predictions: list[Tensor] = self.view_time(self._embed(noisy, time, given, text))
        if self.config.prediction != "residual":
            return predictions
        blends = _blends(noisy, given)
        if len(predictions) < len(blends):  # one stream that runs along both axes
            blends = [(blends[0] + blends[1]) / 2]
        return [prediction + blend for prediction, blend in zip(predictions, blends, strict=True)]

    def _check(self, noisy: Tensor, time: Tensor, given: Tensor) -> None:
        if noisy.ndim != 6 or given.shape != noisy.shape[:3] or time.shape not in (given.shape[:1], given.shape):
            raise ValueError(
                f"noisy {tuple(noisy.shape)}, time {tuple(time.shape)} and given {tuple(given.shape)} are no grids: "
                f"give [B, V, T, C, H, W], [B] or [B, V, T], and [B, V, T]"
            )

    def _embed(self, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None) -> GridInput:
        patch_grid = self.backbone.check(noisy)
        tokens = self.backbone.embed(noisy.flatten(1, 2), given.flatten(1, 2))
        tokens = torch.unflatten(tokens, 1, given.shape[1:])
        if self.references is not None:
            tokens = tokens + self.references(grid_references(noisy, given))
        return GridInput(self.backbone, tokens, time, given, self.backbone.embed_text(text), patch_grid)

    def _predict_video(self, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None) -> Tensor:
        axis: Axis = "view" if given.shape[1] > 1 else "time"
        kind = FREEZE_TIME if axis == "view" else FIXED_VIEW
        context = torch.full((len(noisy),), kind, device=noisy.device)
        frames, flags = to_sequences(noisy, axis), to_sequences(given, axis)
        times = time if time.ndim == 1 else to_sequences(time, axis)
        return to_grid(self.backbone(frames, times, flags, context, text), axis, len(noisy))


def _is_video(given: Tensor) -> bool:
    """Whether a grid [B, V, T] is one video."""
    return min(given.shape[1:]) == 1


def _blends(noisy: Tensor, given: Tensor) -> list[Tensor]:
    """What a residual is added to, as the base model has it: along views, then along times, as far as there are any."""
    axes: list[Axis] = ["view", "time"]
    return [
        to_grid(blend_of_given(to_sequences(noisy, axis), to_sequences(given, axis)), axis, len(noisy))
        for axis, length in zip(axes, given.shape[1:], strict=True)
        if length > 1
    ] or [blend_of_given(noisy[:, 0], given[:, 0])[:, None]]
