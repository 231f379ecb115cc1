"""The two networks of Frechet distances, published as TorchScript."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fourreal.evaluation.networks.frames import Frames, middle_of_video, stretched

INCEPTION_SIDE_PX = 299
I3D_SIDE_PX = 224
_BATCH = 16

Features = npt.NDArray[np.float32]


class Inception:
    """`inception-2015-12-05.pt`, called as clean-fid and StyleGAN do."""

    def __init__(self, path: Path, device: str) -> None:
        self.network = _load(path, device)
        self.device = device

    @torch.no_grad()
    def __call__(self, frames: Frames) -> Features:
        """uint8 `[N, H, W, 3]` to the pool features `[N, 2048]`."""
        features = []
        for start in range(0, len(frames), _BATCH):
            images = stretched(frames[start : start + _BATCH], INCEPTION_SIDE_PX).to(self.device)
            features.append(self.network(images, return_features=True).flatten(1).float().cpu())
        return torch.cat(features).numpy()


class I3D:
    """`i3d_torchscript.pt`, called as StyleGAN-V does."""

    def __init__(self, path: Path, device: str) -> None:
        self.network = _load(path, device)
        self.device = device

    @torch.no_grad()
    def __call__(self, video: Frames) -> Features:
        """uint8 `[T, H, W, 3]` with at least 9 times to the logits `[400]`."""
        one = middle_of_video(video, I3D_SIDE_PX)[None].to(self.device)
        logits = self.network(one, rescale=False, resize=False, return_features=True)
        return np.asarray(logits.flatten().float().cpu().numpy())


def _load(path: Path, device: str) -> Any:
    return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
