"""Classifier-free guidance (Ho and Salimans 2022) with a scale for each condition, nested as in InstructPix2Pix.

Shape legend: B samples, F any frame axes (N of a sequence, or V T of a grid), C H W pixels.

    v = v(-, n) + g_frames (v(frames, n) - v(-, n)) + g_text (v(frames, text) - v(frames, n))

where n is the negative text. The frame condition is dropped by treating given frames as unknown: they are noised to
the diffusion time of the others, s, with noise of their own, and flagged unknown, which is what training shows a
model when it drops them. So the contrast is whole at s = 1, where the content is decided, and fades with the noise.

Terms whose weight is zero are not evaluated; the others are, in one batch. With both scales 1 only v(frames, text) is
left, and with it the very numbers of sampling without guidance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fourreal.training.model.backbones.base import Backbone, Text
from fourreal.training.model.flow import add_noise, to_velocity
from fourreal.training.model.grid_model import GridModel
from fourreal.training.model.sampling.solvers import Velocity


@dataclass(frozen=True)
class Guidance:
    """Scales; 1 is the conditional prediction itself, more goes beyond it. ValueError for what is no number."""

    frames: float = 1.0
    text: float = 1.0

    def __post_init__(self) -> None:
        for name, scale in (("frames", self.frames), ("text", self.text)):
            if not math.isfinite(scale) or scale < 0:
                raise ValueError(f"the guidance scale of {name} is {scale}; give a number from 0 up, 1 for none")


NO_GUIDANCE = Guidance()


@dataclass(frozen=True)
class _Term:
    weight: float
    sees_frames: bool
    text: Text | None


def grid_velocity(
    model: GridModel,
    given: Tensor,
    noise: Tensor | None = None,
    *,
    guidance: Guidance = NO_GUIDANCE,
    text: Text | None = None,
    negative: Text | None = None,
) -> Velocity:
    """The velocity field of a grid model with the frames `given` [B, V, T].

    noise: [B, V, T, C, H, W] for dropped frames, needed when `guidance.frames` is not 1; text, negative: B captions.
    Without negative text, the text stays in every term. ValueError when guidance lacks what it needs.
    """
    terms = _terms(guidance, text, negative)
    if len(terms) == 1 and terms[0].sees_frames:

        def plain(noisy: Tensor, time: Tensor) -> Tensor:
            return _predict(model, noisy, time, given, terms[0].text)

        return plain
    if noise is None:
        raise ValueError("guidance of frames needs the noise that stands for dropped frames; pass `noise`")
    return _guided(model, given, noise, terms)


def sequence_velocity(model: Backbone, given: Tensor, context: Tensor, text: Text | None = None) -> Velocity:
    """The velocity field of a base model with the frames `given` [B, N] in the modes `context` [B]."""

    def velocity(noisy: Tensor, time: Tensor) -> Tensor:
        dtype = model.context_embedding.weight.dtype
        prediction = model(noisy.to(dtype), time, given, context, _as(text, dtype)).to(noisy)
        return to_velocity(prediction, noisy, time, model.config)

    return velocity


def _guided(model: GridModel, given: Tensor, noise: Tensor, terms: list[_Term]) -> Velocity:
    nothing = torch.zeros_like(given)
    flags = torch.cat([given if term.sees_frames else nothing for term in terms])
    text = _joined([term.text for term in terms])

    def velocity(noisy: Tensor, time: Tensor) -> Tensor:
        # The state holds given frames clean; where they are dropped, they are noised like the others.
        dropped = torch.where(given[..., None, None, None], add_noise(noisy, noise, time, nothing), noisy)
        states = torch.cat([noisy if term.sees_frames else dropped for term in terms])
        times = time.repeat(len(terms))
        each = _predict(model, states, times, flags, text).chunk(len(terms))
        guided = terms[0].weight * each[0]
        for term, one in zip(terms[1:], each[1:], strict=True):
            guided = guided + term.weight * one
        return guided

    return velocity


def _predict(model: GridModel, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None) -> Tensor:
    """Velocity in the number type of the state, whatever the model's: a solver's steps are too fine for bfloat16."""
    dtype = model.backbone.context_embedding.weight.dtype
    prediction = model(noisy.to(dtype), time, given, _as(text, dtype)).to(noisy)
    return to_velocity(prediction, noisy, time, model.config)


def _as(text: Text | None, dtype: torch.dtype) -> Text | None:
    return None if text is None else Text(text.embeddings.to(dtype), text.mask)


def _terms(guidance: Guidance, text: Text | None, negative: Text | None) -> list[_Term]:
    """The terms of the formula that count, equal ones as one."""
    if negative is None:
        if guidance.text != 1:
            missing = "text and negative text" if text is None else "negative text (that of an empty caption serves)"
            raise ValueError(f"guidance of text at {guidance.text} needs {missing}; give it, or leave the scale at 1")
        terms = [_Term(1 - guidance.frames, False, text), _Term(guidance.frames, True, text)]
    else:
        if text is None:
            raise ValueError("negative text was given and no text that it would be the negative of; give both")
        terms = [
            _Term(1 - guidance.frames, False, negative),
            _Term(guidance.frames - guidance.text, True, negative),
            _Term(guidance.text, True, text),
        ]
    return [term for term in terms if term.weight != 0]


def _joined(texts: list[Text | None]) -> Text | None:
    present = [text for text in texts if text is not None]
    if not present:
        return None
    joined = present[0]
    for other in present[1:]:
        if other.embeddings.shape != present[0].embeddings.shape or (other.mask is None) != (present[0].mask is None):
            raise ValueError(
                f"text {tuple(present[0].embeddings.shape)} and negative text {tuple(other.embeddings.shape)} are not "
                f"alike; pad both to one length, and give both a mask or neither"
            )
        joined = joined.joined(other)
    return joined
