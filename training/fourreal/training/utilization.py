"""Model operations a second, as a share of what the device can do (MFU), and the memory in use."""

from __future__ import annotations

import time

import psutil
import torch

from fourreal.training.assembly import model_skeleton
from fourreal.training.model.operations import counted, peak_operations
from fourreal.training.settings.stage import StageSettings


class OperationCounter:
    """Operations of a training step of one worker, by the shape of its batch; what is computed twice counts once."""

    def __init__(self, settings: StageSettings) -> None:
        self._model = model_skeleton(settings)
        self._model.set_checkpointing(False)
        self._known: dict[tuple[int, ...], int] = {}

    def __call__(self, frames: tuple[int, ...]) -> int:
        """Of a forward and backward pass. frames: [B, N, C, H, W] in the base stage, else [B, V, T, C, H, W]."""
        if frames not in self._known:
            self._known[frames] = counted(lambda: self._step(frames))
        return self._known[frames]

    def _step(self, frames: tuple[int, ...]) -> None:
        with torch.device("meta"):
            inputs = [torch.zeros(frames), torch.zeros(frames[0]), torch.zeros(frames[:-3], dtype=torch.bool)]
            if len(frames) == 5:
                inputs.append(torch.zeros(frames[0], dtype=torch.int64))
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
