"""The model's figures on a CUDA device, with random weights in bfloat16; `model.py` runs them.

gpu_soft_forward_mfu      one soft step of Wan 1.3B: operations / time / the device's dense bfloat16 peak
gpu_fused_vs_soft_step    time of a fused step / time of a soft step
gpu_wan_40_steps_s        sampling 8 views x 29 times at 288x512 (8 latent times of 36x64) in 40 steps, and in 4
gpu_pixel_40_steps_s      the 600 M pixel model, 8x8 at 72x128
gpu_train_step_mfu        a training step of that model, everything fitted, with checkpointing: three forward
                          passes of operations (what is computed twice counts once) / time / peak
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from reporting import Benchmark

from fourreal.training.model import GridModel, Text, border_given, make_backbone
from fourreal.training.model.operations import counted, peak_operations
from fourreal.training.model.sampling import Sampling, sample_grids

WAN_1_3B: dict[str, Any] = {
    "transformer": {
        "num_attention_heads": 12,
        "attention_head_dim": 128,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 4096,
        "freq_dim": 256,
        "ffn_dim": 8960,
        "num_layers": 30,
    }
}
PIXEL_600M: dict[str, Any] = {
    "height": 72,
    "width": 128,
    "patch_size": 4,
    "hidden_dim": 1024,
    "depth": 32,
    "heads": 16,
}
WAN_FRAME, PIXEL_FRAME = (16, 36, 64), (3, 72, 128)
_SIDE = 8


class Case:
    """A grid model with inputs for it, on a device in bfloat16."""

    def __init__(
        self, name: str, config: dict[str, Any], frame: tuple[int, ...], architecture: str, device: torch.device
    ) -> None:
        with device:
            self.model = GridModel(make_backbone(name, config), architecture).to(torch.bfloat16).eval()
        self.noisy = torch.randn(1, _SIDE, _SIDE, *frame, device=device, dtype=torch.bfloat16)
        self.given = border_given(_SIDE, _SIDE)[None].to(device)
        self.time = torch.full((1,), 0.5, device=device)
        width = config.get("transformer", {}).get("text_dim")
        self.text = Text(torch.randn(1, 512, width, device=device, dtype=torch.bfloat16)) if width else None

    def step(self) -> torch.Tensor:
        """One evaluation of the network."""
        out: torch.Tensor = self.model(self.noisy, self.time, self.given, self.text)
        return out

    def sample(self, steps: int) -> None:
        """The whole grid from its border."""
        sample_grids(self.model, self.noisy, self.given, [0], Sampling(steps), text=self.text)

    def train_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Forward, backward, update."""
        self.step().float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Shortest time of some runs after one to warm up, up to the device's last operation."""
    best = float("inf")
    for _ in range(repeats + 1):
        _wait()
        start = time.perf_counter()
        work()
        _wait()
        best = min(best, time.perf_counter() - start)
    return best


def measure_gpu(benchmark: Benchmark) -> None:
    """All figures; shares of the peak only where the peak is known."""
    device, peak = torch.device("cuda"), peak_operations()
    with torch.inference_mode():
        measure_wan(benchmark, WAN_1_3B, WAN_FRAME, device, peak)
        measure_pixel(benchmark, device)
    measure_training(benchmark, PIXEL_600M, PIXEL_FRAME, device, peak)


def measure_wan(
    benchmark: Benchmark, config: dict[str, Any], frame: tuple[int, ...], device: torch.device, peak: float | None
) -> None:
    """Steps and sampling of the latent model."""
    soft = Case("wan", config, frame, "soft", device)
    with torch.no_grad():
        operations = counted(soft.step)
    step_s = seconds(soft.step)
    benchmark.add("gpu_soft_step_tflop", operations / 1e12)
    benchmark.add("gpu_soft_step_ms", 1e3 * step_s)
    _add_share(benchmark, "gpu_soft_forward_mfu", operations / step_s, peak)
    fused = Case("wan", config, frame, "fused", device)
    benchmark.add("gpu_fused_vs_soft_step", seconds(fused.step) / step_s)
    for steps in (4, 40):
        benchmark.add(f"gpu_wan_{steps}_steps_s", seconds(lambda steps=steps: soft.sample(steps), 1))


def measure_pixel(benchmark: Benchmark, device: torch.device) -> None:
    """Sampling of the pixel model."""
    case = Case("pixel", PIXEL_600M, PIXEL_FRAME, "soft", device)
    benchmark.add("gpu_pixel_40_steps_s", seconds(lambda: case.sample(40), 1))


def measure_training(
    benchmark: Benchmark, config: dict[str, Any], frame: tuple[int, ...], device: torch.device, peak: float | None
) -> None:
    """A training step of the pixel model."""
    case = Case("pixel", config, frame, "soft", device)
    with torch.no_grad():
        operations = 3 * counted(case.step)
    case.model.set_checkpointing(True)
    optimizer = torch.optim.AdamW(case.model.trainable_parameters("full"), lr=1e-5)
    step_s = seconds(lambda: case.train_step(optimizer))
    benchmark.add("gpu_train_step_ms", 1e3 * step_s)
    _add_share(benchmark, "gpu_train_step_mfu", operations / step_s, peak)


def _add_share(benchmark: Benchmark, figure: str, operations_per_s: float, peak: float | None) -> None:
    if peak is None:
        print(f"  {figure}: not measured (the peak of {torch.cuda.get_device_name()} is not in the table)")
    else:
        benchmark.add(figure, operations_per_s / peak)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
