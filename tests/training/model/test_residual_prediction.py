"""Models that predict what frames differ by from a blend of the given ones."""

from __future__ import annotations

import pytest
import torch
from tests.training.model.tiny_models import ARCHITECTURES, CONFIGS, FRAME, enliven

from fourreal.training.model import FIXED_VIEW, FREEZE_TIME, GridModel, border_given, generate_grids, make_backbone
from fourreal.training.model.flow import add_noise, velocity_loss
from fourreal.training.model.given_blend import blend_of_given

RESIDUAL = {**CONFIGS["pixel"], "prediction": "residual"}
SIZE = FRAME["pixel"]


def _random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, 0, 0, 1], [0, 2, 4, 6]),
        ([1, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 1, 0, 0], [2, 2, 2, 2]),
        ([0, 1, 1, 0], [2, 2, 5, 5]),
        ([1, 1, 0, 1], [0, 2, 4, 6]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_the_blend_is_linear_between_given_frames_and_the_nearest_outside(
    given: list[int], expected: list[float]
) -> None:
    values = [0.0, 2.0, 5.0, 6.0]
    frames = torch.tensor(values)[:, None, None, None].expand(4, 3, 2, 2)
    mask = torch.tensor(given, dtype=torch.bool)
    both = torch.stack([mask, torch.ones(4, dtype=torch.bool)])  # the other sequence of the batch is its own
    blended = blend_of_given(torch.stack([frames, frames]), both)
    assert blended[0, :, 0, 0, 0].tolist() == expected
    assert torch.equal(blended[1], frames)


def test_a_new_base_model_is_the_blend() -> None:
    model = make_backbone("pixel", RESIDUAL)
    frames, given = _random(2, 4, *SIZE), torch.tensor([[True, False, False, True]] * 2)
    out = model(frames, torch.ones(2), given, torch.tensor([FIXED_VIEW, FREEZE_TIME]))
    assert torch.equal(out, blend_of_given(frames, given))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_grid_model_is_the_average_of_the_two_copies(architecture: str) -> None:
    model = GridModel(make_backbone("pixel", RESIDUAL), architecture)
    clean, given = _random(1, 3, 4, *SIZE), border_given(3, 4)[None]
    made = generate_grids(model, clean, given, steps=1, seeds=[0])
    average = (clean[:, :, :1] + clean[:, :1]) / 2
    torch.testing.assert_close(made[:, 1:, 1:], average[:, 1:, 1:])


@pytest.mark.parametrize("axis", ["view", "time"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_video_is_the_base_models_bit_for_bit(architecture: str, axis: str) -> None:
    model = GridModel(make_backbone("pixel", RESIDUAL), architecture)
    enliven(model)
    frames, given, time = _random(2, 4, *SIZE), torch.tensor([[True, False, False, True]] * 2), torch.tensor([0.3, 1.0])
    context = torch.full((2,), FREEZE_TIME if axis == "view" else FIXED_VIEW)
    dim = 2 if axis == "view" else 1
    out = model(frames.unsqueeze(dim), time, given.unsqueeze(dim)).squeeze(dim)
    assert torch.equal(out, model.backbone(frames, time, given, context))


def test_an_exact_residual_has_no_loss_at_any_time() -> None:
    config = make_backbone("pixel", RESIDUAL).config
    clean, noise, given = _random(3, 4, *SIZE), torch.randn(3, 4, *SIZE), torch.zeros(3, 4, dtype=torch.bool)
    time = torch.tensor([0.01, 0.5, 1.0])
    assert velocity_loss(clean, clean, noise, time, given, config=config) == 0
    assert add_noise(clean, noise, time, given).shape == clean.shape
