"""Wan and LTX: diffusers' own output to the bit, from folders as diffusers writes them; and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel, WanTransformer3DModel
from tiny_models import ARCHITECTURES, CONFIGS, FRAME, captions, enliven, grid_input, lively
from torch import Tensor

from fourreal.training.model import Backbone, GridModel, Text, make_backbone
from fourreal.training.model.backbones.ltx import LtxBackbone
from fourreal.training.model.backbones.wan import WanBackbone, latent_times

CLASSES: dict[str, Any] = {"wan": WanTransformer3DModel, "ltx": LTXVideoTransformer3DModel}
BACKBONES: dict[str, Any] = {"wan": WanBackbone, "ltx": LtxBackbone}
NAMES = ("wan", "ltx")


def original(name: str) -> Any:
    model = CLASSES[name](**CONFIGS[name]["transformer"])
    enliven(model)
    return model.eval()


def pretrained(name: str, folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """diffusers' model, and ours from the folder that it was saved in."""
    original(name).save_pretrained(folder)
    model = CLASSES[name].from_pretrained(folder, torch_dtype=dtype).eval()
    for parameter in model.parameters():  # as read from the file they may lie unaligned, and other bits come out
        parameter.data = parameter.data.clone()
    return model, BACKBONES[name].from_pretrained(folder, dtype).eval()


def diffusers_output(name: str, model: Any, video: Tensor, timestep: Tensor, text: Text) -> Tensor:
    """What diffusers makes of a video [B, N, C, H, W] at `timestep` [B] or [B, tokens]."""
    if name == "wan":
        out: Tensor = model(video.transpose(1, 2), timestep, text.embeddings, return_dict=False)[0]
        return out.transpose(1, 2)
    tokens = video.permute(0, 1, 3, 4, 2)
    sizes = dict(zip(("num_frames", "height", "width"), tokens.shape[1:4], strict=True))
    out = model(
        tokens.flatten(1, 3), text.embeddings, timestep, text.mask.float(), **sizes,
        rope_interpolation_scale=(8 / 25, 32, 32), return_dict=False,
    )[0]  # fmt: skip
    return out.view(tokens.shape).permute(0, 1, 4, 2, 3)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batch", "dtype"), [(1, torch.float32), (2, torch.float32), (1, torch.bfloat16)])
def test_a_single_video_is_diffusers_output_to_the_bit(
    name: str, batch: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    model, backbone = pretrained(name, tmp_path / "transformer", dtype)
    assert backbone.context_embedding.weight.abs().max() == 0
    video, time, _ = grid_input(5, 1, name, batch)
    text = captions(name, batch)
    assert text is not None
    video, text = video.to(dtype), Text(text.embeddings.to(dtype), text.mask)
    nothing = torch.zeros(batch, 5, 1, dtype=torch.bool)
    expected = diffusers_output(name, model, video[:, :, 0], time * 1000, text)
    assert expected.abs().max() > 0.1
    for architecture in ARCHITECTURES:
        grid_model = GridModel(backbone, architecture)
        enliven(grid_model.view_time)
        assert torch.equal(grid_model(video, time, nothing, text)[:, :, 0], expected)  # freeze-time
        across = grid_model(video.transpose(1, 2), time, nothing.transpose(1, 2), text)  # fixed view
        assert torch.equal(across[:, 0], expected)
    again = BACKBONES[name].from_pretrained(tmp_path, dtype)  # a pipeline's folder
    assert torch.equal(again(video[:, :, 0], time, nothing[:, :, 0], torch.zeros(batch).long(), text), expected)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_given_frames_are_told_as_diffusers_tells_them_with_a_time_for_every_token(name: str) -> None:
    model, backbone = original(name), lively(name)
    backbone.transformer.load_state_dict(model.state_dict())
    backbone.context_embedding.weight.zero_()
    video, time, _ = grid_input(1, 5, name)
    given = torch.tensor([[[True, False, False, True, False]]]).expand(2, -1, -1)
    text = captions(name)
    assert text is not None
    each = torch.where(given[:, 0], 0, time[:, None])
    tokens = backbone.embed(video[:, 0], given[:, 0]).shape[2]
    expected = diffusers_output(name, model, video[:, 0], each.repeat_interleave(tokens, 1) * 1000, text)
    context = torch.zeros(2, dtype=torch.long)
    torch.testing.assert_close(backbone(video[:, 0], time, given[:, 0], context, text), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backbone(video[:, 0], each, given[:, 0], context, text), expected, rtol=1e-4, atol=1e-5)
    backbone.context_embedding.weight[0] = 0.5
    assert not torch.allclose(backbone(video[:, 0], time, given[:, 0], context, text), expected, atol=1e-3)


def refused(backbone: Backbone, views: int, frame: tuple[int, ...], text: Text | None, match: str) -> None:
    noisy, given = torch.zeros(2, views, 2, *frame), torch.zeros(2, views, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=match):
        GridModel(backbone, "soft")(noisy, torch.zeros(2), given, text)


def test_grids_that_do_not_fit_are_one_sentence_with_both_sides(tmp_path: Path) -> None:
    wan, text = lively("wan"), captions("wan")
    refused(wan, 2, (3, 4, 6), text, "frames have 3 channels, the wan backbone reads 4")
    refused(wan, 2, (4, 5, 6), text, "5x6 do not split into the 2x2 patches")
    refused(wan, 2, FRAME["wan"], None, r"reads UMT5 embeddings of shape \[B, tokens, 16\]: none was given")
    refused(wan, 2, FRAME["wan"], Text(torch.zeros(2, 5, 8)), r"\[B, tokens, 16\]: \[2, 5, 8\] was given")
    refused(wan, 300, FRAME["wan"], text, "300 positions along an axis are more than the 256")
    refused(lively("pixel"), 2, (3, 8, 8), None, "frames are 8x8 pixels, the model's are 8x12")
    refused(lively("pixel"), 2, (3, 8, 12), text, "reads no text")
    original("ltx").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a LTXVideoTransformer3DModel, this backbone runs a WanTransformer3D"):
        WanBackbone.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="neither a folder nor a hub id"):
        WanBackbone.from_pretrained(tmp_path / "nothing")
    image_to_video = {**CONFIGS["wan"]["transformer"], "in_channels": 9}
    with pytest.raises(ValueError, match=r"reads 9 channels and writes 4.* use a text-to-video"):
        make_backbone("wan", {"transformer": image_to_video})
    with pytest.raises(ValueError, match="choose one of pixel, wan, ltx"):
        make_backbone("sora", {})


def test_latent_times_of_a_video() -> None:
    assert [latent_times(times) for times in (1, 5, 29)] == [1, 2, 8]
    with pytest.raises(ValueError, match=r"8 times are not 4k\+1.* use 5 or 9"):
        latent_times(8)
