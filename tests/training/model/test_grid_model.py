"""Identity at start, roles of the axes, and what trains (METHOD section 4)."""

import itertools

import pytest
import torch
from tiny_models import base_along_time, base_along_view
from torch import Tensor, nn

from fourreal.training.model import Backbone, GridModel, PixelBackbone, PixelConfig
from fourreal.training.model.backbones.pixel import HeadNorm
from fourreal.training.model.sampling import border_given

CONFIG = PixelConfig(height=8, width=12, patch_size=4, hidden_dim=32, depth=3, heads=2)


def lively_backbone(seed: int = 0) -> Backbone:
    """A backbone whose zero-initialised parts are not zero, so that equalities say something."""
    torch.manual_seed(seed)
    backbone = PixelBackbone(CONFIG)
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.2)
    return backbone.eval()


def grid_input(views: int, times: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    noisy = torch.randn(2, views, times, 3, CONFIG.height, CONFIG.width, generator=generator)
    time = torch.rand(2, generator=generator)
    given = border_given(views, times).expand(2, -1, -1)
    return noisy, time, given


@torch.no_grad()
@pytest.mark.parametrize(("views", "times"), [(3, 3), (2, 4), (4, 2)])
def test_soft_streams_are_the_base_model_at_start(views: int, times: int) -> None:
    backbone = lively_backbone()
    noisy, time, given = grid_input(views, times)
    model = GridModel(backbone, "soft")
    view, along_time = model.stream_predictions(noisy, time, given)
    assert torch.equal(view, base_along_view(backbone, noisy, time, given))
    assert torch.equal(along_time, base_along_time(backbone, noisy, time, given))
    assert not torch.allclose(view, along_time)
    assert torch.equal(model(noisy, time, given), (view + along_time) / 2)


@torch.no_grad()
def test_hard_starts_as_the_mean_and_keeps_consensus() -> None:
    model = GridModel(lively_backbone(), "hard")
    y_view, y_time, condition = torch.randn(2, 2, 3, 6, 32), torch.randn(2, 2, 3, 6, 32), torch.randn(2, 2, 3, 32)
    view, along_time = model.view_time.syncs[0](y_view, y_time, condition)
    torch.testing.assert_close(view, (y_view + y_time) / 2)
    assert torch.equal(view, along_time)
    same, _ = model.view_time.syncs[0](y_view, y_view, condition)
    torch.testing.assert_close(same, y_view)


@torch.no_grad()
def test_synchronization_depends_on_diffusion_time_once_trained() -> None:
    for architecture in ("soft", "hard"):
        sync = GridModel(lively_backbone(), architecture).view_time.syncs[0]
        for parameter in sync.parameters():
            nn.init.normal_(parameter, std=0.2)
        tokens = torch.randn(1, 2, 2, 6, 32)
        first = sync(tokens, tokens, torch.zeros(1, 2, 2, 32))[0]
        second = sync(tokens, tokens, torch.ones(1, 2, 2, 32))[0]
        assert not torch.allclose(first, second)


@torch.no_grad()
def test_swapping_view_and_time_swaps_the_streams() -> None:
    """The streams share their weights up to the context embedding, so transposing the grid swaps their roles."""
    backbone = lively_backbone()
    noisy, time, given = grid_input(2, 3)
    model = GridModel(backbone, "soft")
    view, along_time = model.stream_predictions(noisy, time, given)
    backbone.context_embedding.weight.copy_(backbone.context_embedding.weight.flip(0))
    swapped_view, swapped_time = model.stream_predictions(noisy.transpose(1, 2), time, given.transpose(1, 2))
    torch.testing.assert_close(swapped_view.transpose(1, 2), along_time)
    torch.testing.assert_close(swapped_time.transpose(1, 2), view)


@pytest.mark.parametrize("architecture", ["soft", "hard"])
def test_sync_only_leaves_the_backbone_without_gradients(architecture: str) -> None:
    model = GridModel(lively_backbone(), architecture)
    trained = model.trainable_parameters("sync-only")
    model(*grid_input(3, 3)).square().mean().backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert all(parameter.grad is not None for parameter in trained)
    assert {id(p) for p in trained} == {id(p) for p in model.view_time.syncs.parameters()}
    exchange = [
        p.grad.abs().sum()
        for name, p in model.view_time.syncs.named_parameters()
        if p.ndim == 2 and "modul" not in name
    ]
    assert all(total > 0 for total in exchange[:-1])
    assert len(model.trainable_parameters("full")) == len(list(model.parameters()))


@torch.no_grad()
def test_every_unknown_frame_sees_both_given_videos_through_the_streams() -> None:
    """With exchange, a change in x[0, t] or x[v, 0] reaches x[v, t]; without, each stream sees its own video only."""
    noisy, time, given = grid_input(3, 3)
    changed = noisy.clone()
    changed[:, 0, 1:] += 1
    soft = GridModel(lively_backbone(), "soft")
    before, after = (soft.stream_predictions(x, time, given) for x in (noisy, changed))
    assert not torch.allclose(before[0][:, 1, 1], after[0][:, 1, 1])  # view stream, time 1: sees x[0, 1]
    assert torch.equal(before[1][:, 1, 1], after[1][:, 1, 1])  # time stream, view 1: does not
    for parameter in soft.view_time.syncs.parameters():
        nn.init.normal_(parameter, std=0.2)
    before, after = (soft.stream_predictions(x, time, given) for x in (noisy, changed))
    assert not torch.allclose(before[1][:, 1, 1], after[1][:, 1, 1])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of"):
        GridModel(PixelBackbone(CONFIG), "firm")
    with pytest.raises(ValueError, match="choose one of"):
        GridModel(PixelBackbone(CONFIG), "soft").trainable_parameters("some")


def test_heads_are_normed_in_their_own_precision() -> None:
    """A weight in float32 beside heads in bfloat16, as under autocast, would cost a GPU its fused kernel."""
    ours, theirs = HeadNorm(32), nn.RMSNorm(32)
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight.copy_(torch.linspace(0.5, 2, 32))
    heads = torch.randn(2, 5, 3, 32)
    torch.testing.assert_close(ours(heads), theirs(heads), rtol=0, atol=0)
    low = ours(heads.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), theirs(heads), rtol=2e-2, atol=2e-2)


def test_one_dial_grows_to_600_million() -> None:
    counts = []
    for size in ("nano", "tiny", "small", "base", "large"):
        with torch.device("meta"):
            counts.append(sum(p.numel() for p in PixelBackbone(PixelConfig.of_size(size)).parameters()))
    assert all(small < big for small, big in itertools.pairwise(counts))
    assert counts[0] < 2e6
    assert 5.5e8 < counts[-1] < 6.5e8


def test_configuration_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="height 30 is not a multiple of the patch size 4; use 28 or 32"):
        PixelConfig(height=30)
    with pytest.raises(ValueError, match="choose one of nano, tiny"):
        PixelConfig.of_size("giant")
    with pytest.raises(ValueError, match="heads"):
        PixelConfig(hidden_dim=100, heads=3)
    with pytest.raises(ValueError, match="resize them"):
        lively_backbone().check(torch.zeros(1, 2, 3, 8, 8))
