"""Small random networks in the file formats in which the real ones are published."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from fourreal.evaluation.networks import Networks
from fourreal.evaluation.pretrained import REGISTRY, Weights, WeightsStore

FEATURES = 6
WORDS = ("a", "square", "moves", "fox", "runs")

UNPUBLISHED: Mapping[str, Weights] = {
    name: dataclasses.replace(weights, files=tuple(dataclasses.replace(file, sha256="") for file in weights.files))
    for name, weights in REGISTRY.items()
}
"""The registry without the published sha256, which small random files cannot have."""


class TinyInception(nn.Module):
    """Called as `inception-2015-12-05.pt` is: uint8 range, 299x299."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, FEATURES, 7, stride=7)

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        assert img.shape[1] == 3
        assert img.shape[2] == 299
        assert img.shape[3] == 299
        return torch.relu(self.convolution((img - 128) / 128)).mean(dim=(2, 3))


class TinyI3D(nn.Module):
    """Called as `i3d_torchscript.pt` is: -1..1, 224x224, at least 9 frames."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(3, FEATURES, (3, 32, 32), stride=(1, 32, 32))

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        assert not rescale
        assert not resize
        assert return_features
        assert x.shape[3] == 224
        assert x.shape[4] == 224
        assert x.shape[2] >= 9
        assert float(x.abs().max()) <= 1.0
        return torch.relu(self.convolution(x)).mean(dim=(2, 3, 4))


def write_torchscript(folder: Path) -> None:
    """inception and i3d."""
    torch.manual_seed(0)
    for name, network in (("inception", TinyInception()), ("i3d", TinyI3D())):
        (folder / name).mkdir(parents=True)
        torch.jit.script(network).save(str(folder / name / UNPUBLISHED[name].files[0].name))


def write_lpips(folder: Path) -> None:
    """AlexNet's convolutions at their published shapes and the five linear layers; no value of theirs is negative."""
    generator = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    state = {"classifier.6.bias": torch.zeros(10)}
    for index, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"features.{index}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        state[f"features.{index}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    linear = {
        f"lin{layer}.model.1.weight": torch.rand((1, shape[0], 1, 1), generator=generator)
        for layer, shape in enumerate(shapes.values())
    }
    (folder / "lpips").mkdir(parents=True)
    torch.save(state, folder / "lpips" / "alexnet-owt-7be5be79.pth")
    torch.save(linear, folder / "lpips" / "alex.pth")


def write_clip(folder: Path) -> None:
    """A folder as `save_pretrained` writes it, with a preprocessor's configuration as the hub holds it."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    torch.manual_seed(0)
    tokens = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
    tokens += [f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = {**small, **ends, "vocab_size": len(tokens), "max_position_embeddings": 20}
    vision = {**small, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    preprocessor = {
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "clip" / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    for name in ("vocab.json", "merges.txt"):  # the hub still holds them beside tokenizer.json
        if not (folder / "clip" / name).exists():
            (folder / "clip" / name).write_text(json.dumps(vocabulary) if name == "vocab.json" else "")


def networks(folder: Path) -> Networks:
    """Over the weights in this folder, whatever their sha256."""
    return Networks(WeightsStore(str(folder), UNPUBLISHED))


def write_videoscore(folder: Path) -> None:
    """A small Idefics2 with a head of five outputs, split and named as the published one is."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Idefics2Config, PreTrainedTokenizerFast
    from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

    from fourreal.evaluation.networks.videoscore import PROMPT, Regressor

    special = ["<unk>", "<s>", "</s>", "<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    words = sorted({*WORDS, *(word for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(PROMPT))})
    vocabulary = {token: number for number, token in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, additional_special_tokens=special[3:], **ends).save_pretrained(
        folder / "videoscore"
    )
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = Idefics2Config(
        text_config={**small, "num_key_value_heads": 1, "vocab_size": len(vocabulary), "model_type": "mistral"},
        vision_config={**small, "image_size": 28, "patch_size": 14},
        perceiver_config={
            **{"hidden_size": 16, "resampler_n_latents": 3, "resampler_depth": 1},
            **{"resampler_n_heads": 2, "resampler_head_dim": 8, "num_key_value_heads": 1},
        },
        image_token_id=vocabulary["<image>"],
        num_labels=5,
    )
    model = Regressor(config)
    model.model.connector.perceiver_resampler.latents.data.normal_()
    model.save_pretrained(folder / "videoscore", max_shard_size="20KB")
    Idefics2ImageProcessorPil(size={"shortest_edge": 24, "longest_edge": 28}, do_image_splitting=False).save_pretrained(
        folder / "videoscore"
    )
