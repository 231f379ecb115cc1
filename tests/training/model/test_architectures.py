"""What holds for every architecture: identities, symmetries, gradients, precision, compilation, checkpointing."""

from __future__ import annotations

import pytest
import torch
from tiny_models import (
    ARCHITECTURES,
    base_along_time,
    base_along_view,
    captions,
    grid_input,
    lively,
    lively_grid_model,
)
from torch import Tensor
from torch.nn import functional

from fourreal.training.model import GridModel, Text
from fourreal.training.model.architectures import fused
from fourreal.training.model.architectures.view_time_attention import ViewTimeAttention, flex_view_time

NAMES = ("pixel", "wan", "ltx")
each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@torch.no_grad()
@each_architecture
@pytest.mark.parametrize("name", NAMES)
def test_an_axis_of_length_one_leaves_the_base_model(architecture: str, name: str) -> None:
    model, text = lively_grid_model(architecture, name), captions(name)  # training must not matter either
    noisy, time, given = grid_input(1, 4, name)
    given = given.clone()
    given[:, :, 2:] = False
    assert torch.equal(model(noisy, time, given, text), base_along_time(model.backbone, noisy, time, given, text))
    noisy, given = noisy.transpose(1, 2), given.transpose(1, 2)
    assert torch.equal(model(noisy, time, given, text), base_along_view(model.backbone, noisy, time, given, text))


@torch.no_grad()
@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_soft_streams_of_any_backbone_are_the_base_model_at_the_start(name: str) -> None:
    backbone, text = lively(name), captions(name)
    for views, times in ((3, 3), (2, 4)):
        noisy, time, given = grid_input(views, times, name)
        view, along_time = GridModel(backbone, "soft").stream_predictions(noisy, time, given, text)
        assert torch.equal(view, base_along_view(backbone, noisy, time, given, text))
        assert torch.equal(along_time, base_along_time(backbone, noisy, time, given, text))


@torch.no_grad()
@each_architecture
@pytest.mark.parametrize("name", NAMES)
def test_samples_do_not_know_of_each_other_and_a_time_for_each_frame_is_the_same(architecture: str, name: str) -> None:
    model, text = lively_grid_model(architecture, name), captions(name)
    noisy, time, given = grid_input(2, 3, name)
    out = model(noisy, time, given, text)
    swapped = (
        None if text is None else type(text)(text.embeddings.flip(0), None if text.mask is None else text.mask.flip(0))
    )
    torch.testing.assert_close(model(noisy.flip(0), time.flip(0), given, swapped), out.flip(0), rtol=1e-4, atol=1e-5)
    each = time[:, None, None].expand(given.shape)
    torch.testing.assert_close(model(noisy, each, given, text), out, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(noisy, time.flip(0), given, text), out, atol=1e-3)


@torch.no_grad()
@each_architecture
def test_every_frame_depends_on_its_view_and_its_time_and_any_counts_go(architecture: str) -> None:
    model = lively_grid_model(architecture)
    for views, times in ((2, 3), (5, 2), (3, 6)):
        noisy, time, given = grid_input(views, times)
        changed = noisy.clone()
        changed[:, 0, 1] += 1  # a given frame: the same time as (1, 1), the same view as (0, 0)
        before, after = model(noisy, time, given), model(changed, time, given)
        assert before.shape == noisy.shape
        differs = (before != after).flatten(3).any(-1).all(0)
        assert differs[:, 1].all()
        assert differs[0].all()
        assert differs.all()  # with two layers it reaches the rest too


def dense(query: Tensor, key: Tensor, value: Tensor, views: int, times: int) -> Tensor:
    """The definition: all of the scores, and a mask."""
    frame = torch.arange(query.shape[2]) // (query.shape[2] // (views * times))
    view, time = frame // times, frame % times
    mask = (view[:, None] == view) | (time[:, None] == time)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


@pytest.mark.parametrize(("views", "times", "patches"), [(2, 2, 1), (3, 4, 5), (4, 2, 7)])
def test_view_time_attention_is_the_dense_masked_one_with_its_gradients(views: int, times: int, patches: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 2, views * times * patches, 8)
    # Times three: sharp attention, where one set of keys may hold nearly all of the weight.
    inputs = [(3 * torch.randn(shape, generator=generator)).double().requires_grad_() for _ in range(3)]
    gradient = torch.randn(shape, generator=generator).double()
    ours, reference = ViewTimeAttention(views, times)(*inputs), dense(*inputs, views, times)
    torch.testing.assert_close(ours, reference)
    got = torch.autograd.grad(ours, inputs, gradient)
    for part, expected in zip(got, torch.autograd.grad(reference, inputs, gradient), strict=True):
        torch.testing.assert_close(part, expected)
    single = [x.detach().float() for x in inputs]
    torch.testing.assert_close(ViewTimeAttention(views, times)(*single), reference.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile")
def test_flex_attention_has_the_same_mask() -> None:
    inputs = [torch.randn(1, 2, 24, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    torch.testing.assert_close(flex_view_time(*inputs, 3, 4), dense(*inputs, 3, 4), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("patches", [16, 50])
def test_on_cuda_the_block_mask_gives_the_dense_masked_attention_and_its_gradients(patches: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 2, 12 * patches, 32, generator=generator).cuda().requires_grad_() for _ in range(3)]
    frame = torch.arange(12 * patches, device="cuda") // patches
    mask = (frame[:, None] // 4 == frame // 4) | (frame[:, None] % 4 == frame % 4)
    expected = functional.scaled_dot_product_attention(*inputs, attn_mask=mask)
    ours = ViewTimeAttention(3, 4)(*inputs)
    torch.testing.assert_close(ours, expected, rtol=1e-2, atol=1e-2)  # the kernel multiplies in TF32
    for part, reference in zip(
        torch.autograd.grad(ours.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(part, reference, rtol=2e-2, atol=2e-2)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_the_fused_model_is_the_one_with_a_dense_mask(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, text = lively_grid_model("fused", name), captions(name)
    inputs = grid_input(3, 2, name)
    out = model(*inputs, text)
    monkeypatch.setattr(fused, "ViewTimeAttention", lambda views, times: lambda q, k, v: dense(q, k, v, views, times))
    torch.testing.assert_close(out, model(*inputs, text), rtol=1e-4, atol=1e-5)


def test_the_fused_model_has_room_for_so_many_times() -> None:
    with pytest.raises(ValueError, match="has 33 times, the fused architecture has room for 32"):
        lively_grid_model("fused")(*grid_input(2, 33, batch=1))


def loss(model: GridModel, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return model(*inputs).square().mean()


@each_architecture
def test_gradients_agree_with_finite_differences(architecture: str) -> None:
    model = lively_grid_model(architecture).double()
    noisy, time, given = grid_input(2, 3)
    inputs = (noisy.double(), time.double(), given)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss(model, inputs), parameters)
    generator = torch.Generator().manual_seed(5)
    directions = [torch.randn(p.shape, generator=generator).double() for p in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    values, step = [], 1e-6
    with torch.no_grad():
        for move in (step, -2 * step):
            torch._foreach_add_(parameters, directions, alpha=move)
            values.append(loss(model, inputs))
    torch.testing.assert_close(slope, (values[0] - values[1]) / (2 * step), rtol=1e-5, atol=0)


@each_architecture
@pytest.mark.parametrize("views", [1, 3])
def test_checkpointing_changes_no_gradient(architecture: str, views: int) -> None:
    model, inputs = lively_grid_model(architecture), grid_input(views, 3)
    gradients, runs = [], []
    first = model.backbone.get_submodule("layers.0")
    first.register_forward_pre_hook(lambda *_: runs.append(model.backbone.checkpointing))
    for on in (False, True):
        model.set_checkpointing(on)
        gradients.append(torch.autograd.grad(loss(model, inputs), list(model.parameters()), allow_unused=True))
    for kept, again in zip(*gradients, strict=True):
        assert (kept is None) == (again is None)
        assert kept is None or torch.equal(kept, again)
    assert runs.count(True) == 2 * runs.count(False) > 0  # every layer runs again for its gradient


@each_architecture
def test_compiled_whole_it_computes_the_same(architecture: str) -> None:
    """Without breaks in the graph. aot_eager traces forward and backward and needs no C++ compiler."""
    torch._dynamo.reset()
    model, inputs = lively_grid_model(architecture, depth=1), grid_input(3, 2)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    out, expected = compiled(*inputs), model(*inputs)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    weight = model.backbone.get_submodule("layers.0.attention.qkv").weight
    got, wanted = (torch.autograd.grad(x.square().mean(), weight)[0] for x in (out, expected))
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5)


@torch.no_grad()
@each_architecture
@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_stays_within_three_percent(architecture: str, name: str) -> None:
    """bfloat16 has 8 bits: 0.4 % an operation. Over two layers the output stays within 3 % of its size (RMS)."""
    model, text = lively_grid_model(architecture, name), captions(name)
    noisy, time, given = grid_input(3, 2, name)
    expected = model(noisy, time, given, text)
    half = text and Text(text.embeddings.bfloat16(), text.mask)
    out = model.bfloat16()(noisy.bfloat16(), time, given, half)
    assert out.dtype == torch.bfloat16
    assert (out.float() - expected).square().mean().sqrt() < 0.03 * expected.square().mean().sqrt()
