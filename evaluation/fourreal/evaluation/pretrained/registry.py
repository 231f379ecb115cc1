"""The published weights that metrics read, by name. Nothing of them is part of this repository."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_CLIP = "https://huggingface.co/openai/clip-vit-large-patch14/resolve/32bd64288804d66eefd0ccbe215aa642df71cc41"

_VIDEOSCORE = "https://huggingface.co/TIGER-Lab/VideoScore/resolve/main"
_DUST3R = "https://huggingface.co/naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt/resolve/main"


@dataclass(frozen=True)
class WeightsFile:
    """A file as published.

    `sha256` is all of it, its first digits where the publisher names no more, or "" where nobody published one: such
    a file is trusted at its first use, and refused when it changes.
    """

    name: str
    url: str
    sha256: str = ""


@dataclass(frozen=True)
class Weights:
    """A network's weights: files in the format in which they were published.

    `index` is the one of `files` that names the files the weights are split into (`weight_map`, as transformers writes
    it); those lie beside it and belong to the weights too.
    """

    name: str
    what: str
    licence: str
    files: tuple[WeightsFile, ...]
    index: str = ""


REGISTRY: Mapping[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            "inception",
            "Inception v3 of 2015 as TorchScript (StyleGAN2-ADA's conversion), 2048 features: FID",
            "Apache-2.0 (network); the conversion is NVIDIA's",
            (
                WeightsFile(
                    "inception-2015-12-05.pt",
                    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
                    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
                ),
            ),
        ),
        Weights(
            "i3d",
            "I3D trained on Kinetics-400 as TorchScript (StyleGAN-V's conversion), 400 logits: FVD",
            "Apache-2.0 (network); the conversion states none",
            (
                WeightsFile(
                    "i3d_torchscript.pt",
                    "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
                    "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
                ),
            ),
        ),
        Weights(
            "lpips",
            "torchvision's AlexNet and the linear layers of LPIPS v0.1 over it",
            "BSD-3-Clause (AlexNet), BSD-2-Clause (LPIPS)",
            (
                WeightsFile(
                    "alexnet-owt-7be5be79.pth",
                    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
                    "7be5be79",
                ),
                WeightsFile(
                    "alex.pth",
                    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
                    "master/lpips/weights/v0.1/alex.pth",
                    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
                ),
            ),
        ),
        Weights(
            "clip",
            "openai/clip-vit-large-patch14: CLIP score and consistency",
            "MIT",
            (
                WeightsFile(
                    "config.json",
                    f"{_CLIP}/config.json",
                    "8a09b467700c58138c29d53c605b34ebc69beaadd13274a8a2af8ad2c2f4032a",
                ),
                WeightsFile(
                    "model.safetensors",
                    f"{_CLIP}/model.safetensors",
                    "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
                ),
                WeightsFile(
                    "preprocessor_config.json",
                    f"{_CLIP}/preprocessor_config.json",
                    "910e70b3956ac9879ebc90b22fb3bc8a75b6a0677814500101a4c072bd7857bd",
                ),
                WeightsFile("tokenizer.json", f"{_CLIP}/tokenizer.json"),
                WeightsFile("tokenizer_config.json", f"{_CLIP}/tokenizer_config.json"),
                WeightsFile("vocab.json", f"{_CLIP}/vocab.json"),
                WeightsFile("merges.txt", f"{_CLIP}/merges.txt"),
            ),
        ),
        Weights(
            "videoscore",
            "TIGER-Lab/VideoScore, Idefics2 of 8 billion parameters (17 GB): five ratings of a video",
            "Apache-2.0 (Idefics2), MIT (VideoScore)",
            tuple(
                WeightsFile(name, f"{_VIDEOSCORE}/{name}")
                for name in (
                    "config.json",
                    "model.safetensors.index.json",
                    "preprocessor_config.json",
                    "tokenizer.json",
                    "tokenizer_config.json",
                )
            ),
            index="model.safetensors.index.json",
        ),
        Weights(
            "dust3r",
            "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt: confidence of two views in each other",
            "CC-BY-NC-SA-4.0, not for commercial use; so is the package dust3r that runs it",
            (
                WeightsFile("config.json", f"{_DUST3R}/config.json"),
                WeightsFile("model.safetensors", f"{_DUST3R}/model.safetensors"),
            ),
        ),
    )
}
"""All that metrics can read."""
