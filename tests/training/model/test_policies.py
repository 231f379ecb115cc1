"""What trains under each policy, and that a low-rank map can become part of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import captions, enliven, grid_input, lively_grid_model
from torch import Tensor, nn

from fourreal.training.model import GridModel, load_model, merge_lora, save_pretrained
from fourreal.training.model.lora import LoraLinear, LoraShape

NAMES = ("pixel", "wan", "ltx")


def trained_names(model: GridModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_trains_what_its_name_says(name: str) -> None:
    model = lively_grid_model("soft", name)
    everything = {name for name, _ in model.named_parameters()}
    syncs = {name for name in everything if name.startswith("view_time.")}
    model.trainable_parameters("sync-only")
    assert trained_names(model) == syncs
    model.trainable_parameters("self-attention")
    attention = trained_names(model) - syncs - {"backbone.context_embedding.weight"}
    assert attention
    assert all(".attention." in x or ".attn1." in x for x in attention)
    assert attention == {x for x in everything if ".attention." in x or ".attn1." in x}
    model.trainable_parameters("full")
    assert trained_names(model) == everything
    count = len(model.trainable_parameters("lora", LoraShape(2)))
    added = {name for name, _ in model.named_parameters()} - everything
    assert trained_names(model) == syncs | added | {"backbone.context_embedding.weight"}
    assert all(x.endswith((".down", ".up")) for x in added)
    assert count == len(model.trainable_parameters("lora", LoraShape(2)))  # a second time adds nothing


@pytest.mark.parametrize("architecture", ["sequential", "fused"])
def test_without_new_parameters_there_is_no_sync_only(architecture: str) -> None:
    model = lively_grid_model(architecture)
    with pytest.raises(ValueError, match=f"the {architecture} architecture adds no parameters.* choose self-attention"):
        model.trainable_parameters("sync-only")
    assert model.trainable_parameters("self-attention")


@pytest.mark.parametrize("name", NAMES)
def test_lora_starts_as_the_model_and_merges_into_its_weights(name: str, tmp_path: Path) -> None:
    model, inputs, text = lively_grid_model("fused", name), grid_input(2, 3, name), captions(name)
    keys = list(model.state_dict())
    before = model(*inputs, text).detach()
    trained = model.trainable_parameters("lora", LoraShape(3))
    out: Tensor = model(*inputs, text)
    assert torch.equal(out, before)
    out.square().mean().backward()
    assert all(parameter.grad is not None for parameter in trained)
    for module in model.modules():
        if isinstance(module, LoraLinear):
            nn.init.normal_(module.up, std=0.3)
    with torch.no_grad():
        adapted = model(*inputs, text)
        assert not torch.allclose(adapted, before, atol=1e-2)
        with pytest.raises(ValueError, match="call merge_lora"):
            save_pretrained(model, tmp_path)
        merge_lora(model)
        torch.testing.assert_close(model(*inputs, text), adapted, rtol=1e-4, atol=1e-4)
    assert list(model.state_dict()) == keys
    save_pretrained(model, tmp_path)
    assert torch.equal(load_model(tmp_path, "grid")(*inputs, text), model(*inputs, text))


def test_weights_load_with_and_without_lora() -> None:
    plain, adapted = lively_grid_model("soft"), lively_grid_model("soft")
    enliven(plain, 7)
    adapted.trainable_parameters("lora")
    missing, unexpected = adapted.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {name.rsplit(".", 1)[1] for name in missing} == {"down", "up"}
    assert torch.equal(adapted(*grid_input(2, 2)), plain(*grid_input(2, 2)))


def test_lora_is_scaled_by_alpha_over_rank() -> None:
    linear, x = nn.Linear(5, 7), torch.randn(2, 5)
    lora = LoraLinear.around(linear, LoraShape(2, alpha=6.0))
    nn.init.normal_(lora.up)
    expected = linear(x) + 3 * x @ lora.down.T @ lora.up.T
    torch.testing.assert_close(lora(x), expected)
    torch.testing.assert_close(lora.merged()(x), expected)
    assert LoraShape(2).scale == 1.0
