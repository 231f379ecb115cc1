"""Given frames added to the tokens of the others in a grid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.model.tiny_models import ARCHITECTURES, CONFIGS, FRAME, enliven

from fourreal.training.model import GridModel, border_given, load_model, make_backbone, save_pretrained
from fourreal.training.model.references import references

WITH = {**CONFIGS["pixel"], "references": True}
SIZE = FRAME["pixel"]


def _grid(*lengths: int) -> torch.Tensor:
    return torch.rand(2, *lengths, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_references_of_a_border_are_the_two_copies_and_their_common_frame() -> None:
    frames, given = _grid(3, 4), border_given(3, 4).expand(2, 3, 4)
    found = references(frames, given)
    v, t = 2, 3
    assert torch.equal(found[:, v, t, 0], frames[:, 0, t])
    assert torch.equal(found[:, v, t, 1], frames[:, v, 0])
    assert torch.equal(found[:, v, t, 2], frames[:, 0, 0])
    assert not found[:, 0].any()
    assert not found[:, :, 0].any()


def test_what_is_not_given_is_no_reference() -> None:
    frames, given = _grid(3, 4), torch.zeros(2, 3, 4, dtype=torch.bool)
    assert not references(frames, given).any()
    given[:, 0] = True  # the fixed-view video alone
    found = references(frames, given)
    assert torch.equal(found[:, 2, 3, 0], frames[:, 0, 3])
    assert not found[:, 2, 3, 1:].any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_grid_model_is_as_it_is_without_references(architecture: str) -> None:
    with_them, without = (
        GridModel(make_backbone("pixel", config), architecture) for config in (WITH, CONFIGS["pixel"])
    )
    enliven(without)
    weights = without.state_dict()
    with_them.load_state_dict(weights, strict=False)
    frames, given, time = _grid(3, 4), border_given(3, 4).expand(2, 3, 4), torch.tensor([0.3, 1.0])
    assert torch.equal(with_them(frames, time, given), without(frames, time, given))
    assert with_them.references is not None
    enliven(with_them.references)
    assert not torch.equal(with_them(frames, time, given), without(frames, time, given))


def test_an_export_keeps_them(tmp_path: Path) -> None:
    model = GridModel(make_backbone("pixel", WITH), "soft").eval()
    enliven(model)
    loaded = load_model(save_pretrained(model, tmp_path), "grid")
    frames, given, time = _grid(3, 4), border_given(3, 4).expand(2, 3, 4), torch.tensor([0.3, 1.0])
    assert torch.equal(loaded(frames, time, given), model(frames, time, given))
