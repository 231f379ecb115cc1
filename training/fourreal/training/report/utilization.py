"""Model operations a second, as a share of what the device can do (MFU), and the memory in use."""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch

from fourreal.training.data.latent_cache import LatentCache
from fourreal.training.model import Text, Upsampler
from fourreal.training.model.operations import counted, peak_operations
from fourreal.training.stage.assembly import model_skeleton
from fourreal.training.stage.settings import StageSettings


class OperationCounter:
    """Operations of a training step of one worker, by the shape of its batch; what is computed twice counts once."""

    def __init__(self, settings: StageSettings) -> None:
        self._model = model_skeleton(settings)
        self._model.set_checkpointing(False)
        self._text = LatentCache.open(settings.data.folders[0]).shape.text if settings.data.coded else None
        self._known: dict[tuple[int, ...], int] = {}

    def __call__(self, frames: tuple[int, ...]) -> int:
        """Of a forward and backward pass. frames: [B, N, C, H, W] in the base stage, else [B, V, T, C, H, W]."""
        if frames not in self._known:
            self._known[frames] = counted(lambda: self._step(frames))
        return self._known[frames]

    def _step(self, frames: tuple[int, ...]) -> None:
        with torch.device("meta"):
            samples, model = frames[0], self._model
            inputs: list[Any] = [torch.zeros(frames)]
            if isinstance(model, Upsampler):
                low = (*frames[:3], model.config.low_height, model.config.low_width)
                inputs += [torch.zeros(low), torch.zeros(samples), torch.zeros(samples)]
            else:
                inputs += [torch.zeros(samples), torch.zeros(frames[:-3], dtype=torch.bool)]
                inputs += [torch.zeros(samples, dtype=torch.int64)] if len(frames) == 5 else []
                inputs += [Text(torch.zeros(samples, *self._text))] if self._text else []
            self._model(*inputs).square().mean().backward()


def device_peak(device: torch.device) -> float | None:
    """Operations a second that the device can do: on CUDA by its data sheet (None when it is not known), on the CPU as
    measured, a product of matrices in fp32 on the threads that this process has."""
    if device.type == "cuda":
        return peak_operations()
    size, best_s = 768, float("inf")
    left, right = torch.rand(size, size), torch.rand(size, size)
    for _ in range(5):
        began = time.perf_counter()
        torch.mm(left, right)
        best_s = min(best_s, time.perf_counter() - began)
    return 2 * size**3 / best_s


def memory_in_use(device: torch.device) -> dict[str, float]:
    """By metric name: of this process, and the most that it had on its GPU."""
    values = {"memory_gb": psutil.Process().memory_info().rss / 1e9}
    if device.type == "cuda":
        values["gpu_memory_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return values
