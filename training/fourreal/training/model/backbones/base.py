"""What a grid architecture needs of a video diffusion transformer.

Shape legend: B samples, S sequences, N frames of a sequence (or all V*T frames of a grid), C H W numbers of a frame
(pixels or latents), h w its patches, L = h*w, D trunk width, K modulation numbers, E width of a text embedding,
P rotary pairs.

To add a backbone, write one file with a subclass of `Backbone` and its configuration, and name it in
`backbones/__init__.py`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from fourreal.training.model.given_blend import blend_of_given

Tokens = TypeVar("Tokens", Tensor, tuple[Tensor, Tensor])
Prediction = Literal["clean", "velocity", "residual"]

FIXED_VIEW = 0
FREEZE_TIME = 1

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys, values [S, heads, N*L, D/heads], positions already in them, to mixed values of the same shape."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Common part of a backbone's plain configuration.

    `prediction`: what the network puts out: the clean frames, the velocity, or the residual, by which the clean frames
    differ from a blend of the given ones of their sequence (`given_blend.py`); the loss is on velocity either way.
    `time_floor`: the least diffusion time by which a clean prediction is divided to become a velocity.

    Raises ValueError when fields do not fit each other.
    """

    prediction: Prediction = "velocity"
    time_floor: float = 0.05

    def __post_init__(self) -> None:
        if self.prediction not in get_args(Prediction):
            raise ValueError(f"prediction {self.prediction!r} is unknown; choose {', '.join(get_args(Prediction))}")
        if not 0 < self.time_floor < 1:
            raise ValueError(f"time_floor {self.time_floor} is outside (0, 1); 0.05 is a good value")

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. ValueError for fields this version does not know."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"the model configuration has fields {unknown}, unknown to this version; update fourreal")
        return cls(**values)


@dataclass(frozen=True)
class Text:
    """Embedded captions: embeddings [B, tokens, E], and which of them to read, mask [B, tokens] bool (None: all)."""

    embeddings: Tensor
    mask: Tensor | None = None

    def joined(self, other: Text) -> Text:
        """Two batches as one."""
        mask = None if self.mask is None or other.mask is None else torch.cat([self.mask, other.mask])
        return Text(torch.cat([self.embeddings, other.embeddings]), mask)


@dataclass(frozen=True)
class Sequences:
    """All that a layer reads of a batch of sequences besides their tokens.

    condition:  [S, N, K] modulation of each frame, from `Backbone.condition`
    rotary:     [2, N*L, heads or 1, P] cosines and sines, from `Backbone.rotary`
    text:       from `Backbone.embed_text`, for B samples of S/B consecutive sequences each, or None
    patch_grid: (h, w)
    """

    condition: Tensor
    rotary: Tensor
    text: Text | None
    patch_grid: tuple[int, int]

    def joined(self, other: Sequences) -> Sequences:
        """Two batches of equally long sequences as one."""
        text = self.text.joined(other.text) if self.text and other.text else None
        return Sequences(torch.cat([self.condition, other.condition]), self.rotary, text, self.patch_grid)


def attend_all(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Every token of a sequence attends to all of it (see `Attend`)."""
    return functional.scaled_dot_product_attention(query, key, value)


def align(model: nn.Module) -> None:
    """Move weights that were read from a file to memory of their own.

    In a file they lie at odd addresses, and there a CPU's products differ in their last bits.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def run_step(layer: Callable[..., Tokens], index: int, *tokens: Tensor, checkpointing: bool) -> Tokens:
    """`layer(index, *tokens)`, its activations computed again for the gradient instead of kept if `checkpointing`."""
    if checkpointing and torch.is_grad_enabled():
        again: Tokens = checkpoint(layer, index, *tokens, use_reentrant=False)
        return again
    return layer(index, *tokens)


class Backbone(nn.Module, ABC):
    """A video diffusion transformer over one sequence of frames, whose layers a grid model runs along either axis.

    Frames are *given* (clean, diffusion time 0) or *unknown* (diffusion time s); any subset may be given.
    Subclasses set `config`, `hidden_dim` (D), `depth`, `channels` (C, as read) and `context_embedding` ([2, D], fixed
    view and freeze time), and implement the methods below.
    """

    name: str
    config: BackboneConfig
    hidden_dim: int
    depth: int
    channels: int
    context_embedding: nn.Embedding
    checkpointing: bool = False

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The backbone at its initialisation, from `config.to_dict()`."""

    @abstractmethod
    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """Patches (h, w) of frames of a size. ValueError, naming both sides, when the size does not fit."""

    @abstractmethod
    def embed(self, frames: Tensor, given: Tensor) -> Tensor:
        """Frames [S, N, C, H, W] and flags [S, N] to tokens [S, N, L, D]."""

    def embed_video(self, noisy: Tensor, given: Tensor) -> Tensor:
        """`embed` for the frames of one video, to which a backbone may add what the given ones say of the others."""
        return self.embed(noisy, given)

    def refine_video(self, predicted: Tensor, noisy: Tensor, time: Tensor, given: Tensor) -> Tensor:
        """What a backbone makes of its prediction for one video in the end; shapes as in `forward`."""
        return predicted

    @abstractmethod
    def embed_time(self, time: Tensor) -> Tensor:
        """Diffusion times [R] in [0, 1] to vectors [R, D]."""

    @abstractmethod
    def modulation(self, embedded: Tensor) -> Tensor:
        """Embedded time plus context [..., D] to what modulates the layers and the head, [..., K]."""

    @abstractmethod
    def embed_text(self, text: Text | None) -> Text | None:
        """Captions to what the layers read of them. ValueError when there are none and the backbone needs them."""

    @abstractmethod
    def rotary(self, frames: Tensor, patch_grid: tuple[int, int]) -> Tensor:
        """Rotary table [2, N*L, heads or 1, P] of frames at the positions [N]; patches lie at y < h, x < w.

        ValueError for more positions than the backbone has.
        """

    @abstractmethod
    def run_layer(self, index: int, tokens: Tensor, sequences: Sequences, attend: Attend = attend_all) -> Tensor:
        """Layer `index` with its residuals, tokens [S, N, L, D] to the same, its self-attention done by `attend`."""

    @abstractmethod
    def head(self, tokens: Tensor, sequences: Sequences) -> Tensor:
        """Tokens [S, N, L, D] to predicted frames [S, N, C, H, W]."""

    @abstractmethod
    def self_attentions(self) -> list[nn.Module]:
        """The self-attention of each layer: a module that holds its projections as `nn.Linear`."""

    def set_checkpointing(self, on: bool) -> None:
        """Keep the activations between the layers only, and compute those inside again for the gradient."""
        self.checkpointing = on

    def check(self, frames: Tensor) -> tuple[int, int]:
        """Patches (h, w) of frames [..., C, H, W]. ValueError, naming both sides, when they do not fit."""
        channels, height, width = frames.shape[-3:]
        if channels != self.channels:
            raise ValueError(
                f"frames have {channels} channels, the {self.name} backbone reads {self.channels}; "
                f"encode them for this backbone"
            )
        return self.patch_grid(height, width)

    def time_embedding(self, time: Tensor, given: Tensor, context: Tensor | None = None) -> Tensor:
        """Each frame's embedded time, plus context if there is one; see `condition` for the shapes. [..., D]."""
        return self._per_frame(time, given, context, lambda embedded: embedded)

    def condition(self, time: Tensor, given: Tensor, context: Tensor) -> Tensor:
        """What modulates each frame.

        time:    [B] of the unknown frames, or one for each frame in the shape of `given`; given frames have time 0
        given:   [B, ...] bool
        context: [D], or [B, D], of `context_embedding`
        returns  [B, ..., K]
        """
        return self._per_frame(time, given, context, self.modulation)

    def _per_frame(
        self, time: Tensor, given: Tensor, context: Tensor | None, finish: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if time.ndim > 1:
            frame_times = torch.where(given, torch.zeros_like(time), time)
            embedded = torch.unflatten(self.embed_time(frame_times.flatten()), 0, given.shape)
            if context is not None:
                embedded = embedded + (_spread(context, given) if context.ndim == 2 else context)
            return finish(embedded)
        # One row for each sample, as a plain video model has it, and one for time 0; frames choose between them.
        unknown, clean = self.embed_time(time), self.embed_time(torch.zeros_like(time))
        if context is not None:
            unknown, clean = unknown + context, clean + context
        return torch.where(given[..., None], _spread(finish(clean), given), _spread(finish(unknown), given))

    def forward(self, noisy: Tensor, time: Tensor, given: Tensor, context: Tensor, text: Text | None = None) -> Tensor:
        """Predict the clean frames, or their velocity where `config.prediction` says so: the base video model.

        noisy:   [B, N, C, H, W], given frames clean, the others at their diffusion time
        time:    [B] diffusion time of the unknown frames, 1 is noise; or [B, N]
        given:   [B, N] bool, frames that are clean
        context: [B] FIXED_VIEW or FREEZE_TIME
        returns  [B, N, C, H, W]
        """
        patch_grid = self.check(noisy)
        positions = torch.arange(noisy.shape[1], device=noisy.device)
        condition = self.condition(time, given, self.context_embedding(context))
        sequences = Sequences(condition, self.rotary(positions, patch_grid), self.embed_text(text), patch_grid)
        tokens = self.embed_video(noisy, given)

        def layer(index: int, tokens: Tensor) -> Tensor:
            return self.run_layer(index, tokens, sequences)

        for index in range(self.depth):
            tokens = run_step(layer, index, tokens, checkpointing=self.checkpointing)
        predicted = self.head(tokens, sequences)
        if self.config.prediction == "residual":
            predicted = predicted + blend_of_given(noisy, given)
        return self.refine_video(predicted, noisy, time, given)


def _spread(rows: Tensor, given: Tensor) -> Tensor:
    """Rows [B, K] to [B, 1, ..., K], to lie along the frames of `given` [B, ...]."""
    return rows.view(rows.shape[0], *(1 for _ in given.shape[1:]), rows.shape[-1])
