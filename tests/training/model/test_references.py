"""What given frames say of the others: added to their tokens, and read by what mends the prediction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.model.tiny_models import ARCHITECTURES, CONFIGS, FRAME, enliven

from fourreal.training.model import (
    FIXED_VIEW,
    FREEZE_TIME,
    GridModel,
    border_given,
    load_model,
    make_backbone,
    save_pretrained,
)
from fourreal.training.model.references import grid_references, video_references
from fourreal.training.model.refinement import Refinement

PLAIN = {**CONFIGS["pixel"], "prediction": "residual"}
WITH = {**PLAIN, "references": True, "refinement": 5}
SIZE = FRAME["pixel"]


def _grid(*lengths: int) -> torch.Tensor:
    return torch.rand(2, *lengths, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_references_of_a_border_are_the_two_copies_and_their_common_frame() -> None:
    frames, given = _grid(3, 4), border_given(3, 4).expand(2, 3, 4)
    found = grid_references(frames, given)
    v, t = 2, 3
    assert torch.equal(found[:, v, t, 0], frames[:, 0, t])
    assert torch.equal(found[:, v, t, 1], frames[:, v, 0])
    assert torch.equal(found[:, v, t, 2], frames[:, 0, 0])
    assert not found[:, 0].any()
    assert not found[:, :, 0].any()


def test_what_is_not_given_is_no_reference() -> None:
    frames, given = _grid(3, 4), torch.zeros(2, 3, 4, dtype=torch.bool)
    assert not grid_references(frames, given).any()
    given[:, 0] = True  # the fixed-view video alone
    found = grid_references(frames, given)
    assert torch.equal(found[:, 2, 3, 0], frames[:, 0, 3])
    assert not found[:, 2, 3, 1:].any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_grid_model_is_as_it_is_without_references(architecture: str) -> None:
    with_them, without = (GridModel(make_backbone("pixel", config), architecture) for config in (WITH, PLAIN))
    enliven(without)
    weights = without.state_dict()
    with_them.load_state_dict(weights, strict=False)
    frames, given, time = _grid(3, 4), border_given(3, 4).expand(2, 3, 4), torch.tensor([0.3, 1.0])
    assert torch.equal(with_them(frames, time, given), without(frames, time, given))
    for added in (with_them.references, with_them.refinement):
        assert added is not None
        before = with_them(frames, time, given)
        enliven(added)
        assert not torch.equal(with_them(frames, time, given), before)


def test_the_references_of_a_video_are_the_nearest_given_before_and_after() -> None:
    frames, given = _grid(5), torch.zeros(2, 5, dtype=torch.bool)
    given[0, [1, 3]] = True  # the other sequence has none
    found = video_references(frames, given)
    for frame, (before, after) in {0: (1, 1), 2: (1, 3), 4: (3, 3)}.items():
        assert torch.equal(found[0, frame], frames[0, [before, after]])
    assert not found[0, [1, 3]].any()
    assert not found[1].any()


def test_a_new_base_model_is_as_it_is_without_references() -> None:
    with_them, without = make_backbone("pixel", WITH), make_backbone("pixel", PLAIN)
    enliven(without)
    with_them.load_state_dict(without.state_dict(), strict=False)
    inputs = _grid(4), torch.tensor([0.3, 1.0]), torch.tensor([[True, False, False, True]] * 2)
    context = torch.tensor([FIXED_VIEW, FREEZE_TIME])
    assert torch.equal(with_them(*inputs, context), without(*inputs, context))
    for added in ("references", "refinement"):
        before = with_them(*inputs, context)
        enliven(with_them.get_submodule(added))
        assert not torch.equal(with_them(*inputs, context), before)


@pytest.mark.parametrize("axis", ["view", "time"])
def test_a_grid_of_one_video_is_the_base_models(axis: str) -> None:
    model = GridModel(make_backbone("pixel", WITH), "soft")
    enliven(model)
    frames, given, time = _grid(4), torch.tensor([[True, False, False, True]] * 2), torch.rand(2, 4)
    context = torch.full((2,), FREEZE_TIME if axis == "view" else FIXED_VIEW)
    dim = 2 if axis == "view" else 1
    out = model(frames.unsqueeze(dim), time.unsqueeze(dim), given.unsqueeze(dim)).squeeze(dim)
    assert torch.equal(out, model.backbone(frames, time, given, context))


def test_what_mends_reads_no_more_of_noisy_frames_than_they_tell() -> None:
    mend = Refinement(references=3, channels=3, hidden=4)
    enliven(mend)
    predicted, noise, other, *known = (torch.randn(2, 3, 4, *SIZE) for _ in range(6))
    found = torch.stack(known, dim=3)
    ones, none = torch.ones(2), torch.zeros(2, 3, 4, dtype=torch.bool)
    assert torch.equal(mend(predicted, noise, ones, found, none), mend(predicted, other, ones, found, none))
    each = torch.tensor([1.0, 0.5])[:, None, None].expand(2, 3, 4)  # a time for each frame, as well
    one, two = mend(predicted, noise, each, found, none), mend(predicted, other, each, found, none)
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])


def test_what_mends_can_take_a_pixel_beside_of_any_reference() -> None:
    mend = Refinement(references=3, channels=3, hidden=4)
    predicted, *known = (torch.randn(2, 3, 4, *SIZE) for _ in range(4))
    found = torch.stack(known, dim=3)
    one_up_and_two_left = 5 * (2 - 1) + (2 - 2)
    with torch.no_grad():
        assert mend.kernels.bias is not None
        mend.kernels.bias[3 * one_up_and_two_left + 1] = 1.0
    mended = mend(predicted, predicted, torch.ones(2), found, torch.zeros(2, 3, 4, dtype=torch.bool))
    torch.testing.assert_close(mended[..., 1:, 2:], known[1][..., :-1, :-2])


def test_where_all_that_is_known_agrees_kernels_change_nothing() -> None:
    mend = Refinement(references=2, channels=3, hidden=4)
    enliven(mend.kernels)
    plain = torch.randn(2, 4, SIZE[0], 1, 1).expand(2, 4, *SIZE)
    none = torch.zeros(2, 4, dtype=torch.bool)
    mended = mend(plain, torch.randn_like(plain), torch.rand(2), torch.stack([plain, plain], dim=2), none)
    torch.testing.assert_close(mended, plain)


def test_given_frames_are_left_out_whether_or_not_they_were_computed() -> None:
    mend = Refinement(references=3, channels=3, hidden=4).double()
    enliven(mend)
    predicted, noisy, *known = (torch.randn(2, 3, 4, *SIZE, dtype=torch.double) for _ in range(5))
    predicted.requires_grad_()
    given = border_given(3, 4).repeat(2, 1, 1)
    given[1, 1:, 2] = True
    inputs = predicted, noisy, torch.tensor([0.3, 1.0], dtype=torch.double), torch.stack(known, dim=3), given
    made = []
    for run in (mend, torch.compile(mend, backend="eager", fullgraph=True)):
        mended = run(*inputs)
        assert torch.equal(mended[given], predicted[given])
        mended.square().sum().backward()
        made += [(mended, predicted.grad, *(parameter.grad for parameter in mend.parameters()))]
        predicted.grad = None
        mend.zero_grad()
    torch.testing.assert_close(made[0], made[1])


def test_refinement_is_of_clean_frames() -> None:
    with pytest.raises(ValueError, match="choose clean or residual"):
        make_backbone("pixel", {**WITH, "prediction": "velocity"})


def test_an_export_keeps_them(tmp_path: Path) -> None:
    model = GridModel(make_backbone("pixel", WITH), "soft").eval()
    enliven(model)
    loaded = load_model(save_pretrained(model, tmp_path), "grid")
    frames, given, time = _grid(3, 4), border_given(3, 4).expand(2, 3, 4), torch.tensor([0.3, 1.0])
    assert torch.equal(loaded(frames, time, given), model(frames, time, given))
