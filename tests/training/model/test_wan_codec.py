"""Wan's autoencoder between frames and a Wan model, in diffusers' own format with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import TEXT_WIDTH, lively_grid_model

pytest.importorskip("diffusers")

from diffusers import AutoencoderKLWan

from fourreal.training.model import Conditions, Pipeline, Sampling, Text, Windows, load, save_pretrained
from fourreal.training.model.backbones.wan_codec import WanCodec

CHANNELS = 16
WORDS = 3


def tiny_vae(**changes: Any) -> AutoencoderKLWan:
    torch.manual_seed(0)
    config: dict[str, Any] = {"base_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, "z_dim": CHANNELS}
    return AutoencoderKLWan(**{**config, **changes})


@pytest.fixture(scope="module")
def codec() -> WanCodec:
    return WanCodec(tiny_vae())


def video(views: int, times: int) -> torch.Tensor:
    return torch.rand(views, times, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_latents_are_those_of_the_autoencoder_scaled_by_its_published_numbers(codec: WanCodec) -> None:
    frames, given = video(2, 5), torch.tensor([[True] * 5, [True] + [False] * 4])
    coded, known = codec.encode(frames, given)
    assert (coded.shape, known.tolist()) == ((2, 2, CHANNELS, 2, 2), [[True, True], [True, False]])
    config = codec.vae.config
    mean, std = (torch.tensor(numbers).view(-1, 1, 1, 1) for numbers in (config.latents_mean, config.latents_std))
    with torch.no_grad():
        raw = codec.vae.encode(frames[0].transpose(0, 1)[None]).latent_dist.mode()[0]
        decoded = codec.vae.decode(raw[None]).sample[0].transpose(0, 1)
    torch.testing.assert_close(coded[0].transpose(0, 1), (raw - mean) / std)
    torch.testing.assert_close(codec.decode(coded[:1])[0], decoded)
    # The first frame alone has the latent that it has as the start of a video.
    torch.testing.assert_close(codec.encode(frames, given[[1, 1]])[0][0, 0], coded[0, 0])
    assert (coded[1, 1] == 0).all()


@pytest.mark.parametrize(
    ("shape", "given", "sentence"),
    [
        ((1, 8, 16, 16), [True] * 8, r"8 times are not 4k\+1.* use 5 or 9"),
        ((1, 5, 12, 16), [True] * 5, "12x16 pixels do not split into the latents of this autoencoder, 8x8"),
        ((1, 5, 16, 16), [True] * 3 + [False] * 2, r"view 0 the times \[0, 1, 2\] are given.* 0 to 4k"),
        ((1, 5, 16, 16), [False] * 4 + [True], r"the times \[4\] are given"),
    ],
)
def test_frames_that_cannot_be_coded(codec: WanCodec, shape: Any, given: list[bool], sentence: str) -> None:
    views, times, height, width = shape
    with pytest.raises(ValueError, match=sentence):
        codec.encode(torch.zeros(views, times, 3, height, width), torch.tensor([given]))


def test_frames_to_latents_to_frames_with_a_saved_model(tmp_path: Path) -> None:
    model = lively_grid_model("soft", "wan")
    Pipeline(model, WanCodec(tiny_vae(**_channels(4)))).save_pretrained(tmp_path)
    assert sorted(path.name for path in (tmp_path / "vae").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert json.loads((tmp_path / "vae" / "config.json").read_text())["_class_name"] == "AutoencoderKLWan"
    assert load_file(tmp_path / "vae" / "diffusion_pytorch_model.safetensors")

    pipe = load(tmp_path, text_encoder=lambda captions: _text(len(captions[0])))
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 16, 16, 3)).astype(np.uint8)
    videos: dict[str, Any] = {"fixed_view": frames[0], "freeze_time": frames[:, 0], "steps": 1}
    made = pipe(**videos, prompt="a fox")
    assert made.frames.shape == frames.shape
    np.testing.assert_array_equal(made.frames[made.given], frames[made.given])
    assert (pipe(**videos, prompt="a grey fox").frames != made.frames).any()
    hidden = np.where(made.given[..., None, None, None], frames, 0).astype(np.uint8)
    same = pipe.fill(Conditions(hidden, made.given), Sampling(1), prompt="a fox")
    np.testing.assert_array_equal(same.frames, made.frames)
    longer = np.concatenate([frames, frames[:, 1:]], axis=1)
    windowed = pipe(fixed_view=longer[0], freeze_time=longer[:, 0], steps=1, prompt="a fox", windows=Windows(2, 5))
    assert [window["made"] for window in windowed.record["windows"]] == [4, 4]
    with pytest.raises(ValueError, match=r"UMT5 embeddings .* none was given"):
        pipe(**videos)
    with pytest.raises(ValueError, match=r"4 times are not 4k\+1"):
        pipe(fixed_view=frames[0, :4], views=2, prompt="a fox")


def test_autoencoders_that_are_missing_or_of_another_model(tmp_path: Path) -> None:
    save_pretrained(lively_grid_model("soft", "wan"), tmp_path)
    with pytest.raises(ValueError, match="holds no autoencoder"):
        load(tmp_path)
    WanCodec(tiny_vae(**_channels(5))).save(tmp_path)
    with pytest.raises(ValueError, match="latents of 5 channels and the model reads 4"):
        load(tmp_path)
    with pytest.raises(ValueError, match="latents of 4 channels and states the mean of 16"):
        WanCodec(tiny_vae(z_dim=4))


def _channels(number: int) -> dict[str, Any]:
    return {"z_dim": number, "latents_mean": [0.1] * number, "latents_std": [2.0] * number}


def _text(seed: int) -> Text:
    return Text(torch.randn(1, WORDS, TEXT_WIDTH, generator=torch.Generator().manual_seed(seed)))
