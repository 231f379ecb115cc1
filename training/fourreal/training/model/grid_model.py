"""Two-stream view-time model: the base model's layers along both axes, coupled by synchronization layers.

Shape legend: B grids, V views, T times, C H W pixels, L patches of a frame, D trunk width.

The view stream runs on the T freeze-time sequences of V frames, the time stream on the V fixed-view sequences of T
frames (4Real-Video section 2). Between layers both streams are kept as [B, V, T, L, D].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from einops import rearrange
from torch import Tensor, nn

from fourreal.training.model.backbone import FIXED_VIEW, FREEZE_TIME, Backbone, frame_times
from fourreal.training.model.config import Architecture, ModelConfig
from fourreal.training.model.sync import make_sync

TrainPolicy = Literal["sync-only", "full"]


@dataclass
class _Stream:
    """One stream: tokens [B, V, T, L, D], and the conditions and rotary table of its sequences along `axis`."""

    axis: Literal["view", "time"]
    tokens: Tensor
    condition: Tensor
    rotary: Tensor

    def sequences(self) -> Tensor:
        """The tokens as sequences along the axis, [B*T, V, L, D] or [B*V, T, L, D]."""
        return to_sequences(self.tokens, self.axis)

    def to_grid(self, sequences: Tensor) -> Tensor:
        """The inverse of `sequences`, for anything that lies per frame."""
        pattern = "(b t) v ... -> b v t ..." if self.axis == "view" else "(b v) t ... -> b v t ..."
        grid: Tensor = rearrange(sequences, pattern, b=self.tokens.shape[0])
        return grid


def to_sequences(grid: Tensor, axis: Literal["view", "time"]) -> Tensor:
    """[B, V, T, ...] as the freeze-time sequences [B*T, V, ...] or the fixed-view sequences [B*V, T, ...]."""
    pattern = "b v t ... -> (b t) v ..." if axis == "view" else "b v t ... -> (b v) t ..."
    sequences: Tensor = rearrange(grid, pattern)
    return sequences


class GridModel(nn.Module):
    """Base model plus one synchronization layer after each of its layers.

    With V = 1 or T = 1 there is one stream only and no synchronization: the base model itself.
    ValueError for an unknown architecture.
    """

    def __init__(self, config: ModelConfig, architecture: Architecture, backbone: Backbone | None = None) -> None:
        super().__init__()
        if architecture not in get_args(Architecture):
            raise ValueError(f"architecture {architecture!r} is unknown; choose one of {get_args(Architecture)}")
        self.config = config
        self.architecture: Architecture = architecture
        self.backbone = backbone or Backbone(config)
        self.syncs = nn.ModuleList(make_sync(architecture, config.hidden_dim) for _ in range(config.depth))

    def trainable_parameters(self, policy: TrainPolicy) -> list[nn.Parameter]:
        """Mark what trains under a policy (`requires_grad`) and return it: the synchronization, or everything."""
        if policy not in get_args(TrainPolicy):
            raise ValueError(f"training policy {policy!r} is unknown; choose one of {get_args(TrainPolicy)}")
        self.requires_grad_(policy == "full")
        self.syncs.requires_grad_(True)
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, noisy: Tensor, time: Tensor, given: Tensor) -> Tensor:
        """Predict the clean grid, or its velocity (`config.prediction`): the mean of the streams' heads.

        noisy: [B, V, T, C, H, W], given frames clean; time: [B]; given: [B, V, T] bool; returns [B, V, T, C, H, W].
        """
        predictions = self.stream_predictions(noisy, time, given)
        return predictions[0] if len(predictions) == 1 else (predictions[0] + predictions[1]) / 2

    def stream_predictions(self, noisy: Tensor, time: Tensor, given: Tensor) -> list[Tensor]:
        """Each stream's own prediction [B, V, T, C, H, W]: view stream, time stream; an axis of length 1 has none."""
        time_condition = self.backbone.time_embedding(frame_times(time, given))
        tokens = self.backbone.embed(noisy, given)
        streams = self._streams(tokens, time_condition)
        for layer, sync in zip(self.backbone.layers, self.syncs, strict=True):
            outputs = _run_layer(layer, streams)
            if len(streams) == 2:
                outputs = list(sync(*outputs, time_condition))
            for stream, output in zip(streams, outputs, strict=True):
                stream.tokens = output
        return [stream.to_grid(self.backbone.head(stream.sequences(), stream.condition)) for stream in streams]

    def _streams(self, tokens: Tensor, time_condition: Tensor) -> list[_Stream]:
        _, views, times = tokens.shape[:3]
        context = self.backbone.context_embedding.weight
        streams = []
        if views > 1:
            condition = to_sequences(time_condition + context[FREEZE_TIME], "view")
            streams.append(_Stream("view", tokens, condition, self.backbone.rotary(views)))
        if times > 1 or not streams:
            condition = to_sequences(time_condition + context[FIXED_VIEW], "time")
            streams.append(_Stream("time", tokens, condition, self.backbone.rotary(times)))
        return streams


def _run_layer(layer: nn.Module, streams: list[_Stream]) -> list[Tensor]:
    """The layer on every stream's sequences, back in grid layout; one call when the sequences are equally long."""
    if len(streams) == 2 and streams[0].condition.shape == streams[1].condition.shape:
        sequences = torch.cat([stream.sequences() for stream in streams])
        condition = torch.cat([stream.condition for stream in streams])
        outputs = layer(sequences, condition, streams[0].rotary).chunk(2)
    else:
        outputs = [layer(stream.sequences(), stream.condition, stream.rotary) for stream in streams]
    return [stream.to_grid(output) for stream, output in zip(streams, outputs, strict=True)]
