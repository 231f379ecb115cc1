"""What the view-time model costs beside the operations it has to do, in time and in memory.

    python tests/benchmarks/model.py [--quick] [--json FILE]

Floors: operations counted from the shapes, by hand and by torch, which have to agree. On the CPU

    soft_step_vs_counted_ops  (time of a soft step / time of the base model on the same tokens) / the same of operations
    fused_vs_soft_step        time of a fused step / time of a soft step
    memory_exponent           peak memory of a training step with checkpointing grows as (V*T) to this power

and, where there is a CUDA device, the figures of `model_gpu.py`.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil
import torch
from operations import pixel_ends, pixel_layers, soft_exchange
from reporting import Benchmark

from fourreal.training.model import FIXED_VIEW, GridModel, PixelBackbone, PixelConfig, border_given
from fourreal.training.model.operations import counted

_CONFIG = PixelConfig(height=32, width=48, patch_size=4, hidden_dim=384, depth=2, heads=6)
_MEMORY_CONFIG = PixelConfig(height=32, width=32, patch_size=4, hidden_dim=128, depth=4, heads=4)
_SIDE = 5


def grid(config: PixelConfig, views: int, times: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs of a step on one grid."""
    noisy = torch.randn(1, views, times, config.channels, config.height, config.width)
    return noisy, torch.full((1,), 0.5), border_given(views, times)[None]


def step_times(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least CPU time of each step in seconds. The steps take turns, so that what disturbs one disturbs all."""
    best = dict.fromkeys(steps, math.inf)
    with torch.inference_mode():
        for _ in range(rounds):
            for name, step in steps.items():
                start = time.thread_time()
                step()
                best[name] = min(best[name], time.thread_time() - start)
    return best


def measure_steps(benchmark: Benchmark) -> None:
    """A step of each architecture, beside the base model on the same tokens."""
    torch.set_num_threads(1)
    backbone = PixelBackbone(_CONFIG).eval()
    inputs = grid(_CONFIG, _SIDE, _SIDE)
    names = ("soft", "fused") if benchmark.quick else ("soft", "fused", "hard", "sequential")
    models = {name: GridModel(backbone, name).eval() for name in names}
    noisy, _, given = inputs
    base_inputs = (noisy[0], torch.full((_SIDE,), 0.5), given[0], torch.full((_SIDE,), FIXED_VIEW))
    steps = {name: (lambda model=model: model(*inputs)) for name, model in models.items()}
    steps["base"] = lambda: backbone(*base_inputs)
    with torch.no_grad():
        base, soft = counted(steps["base"]), counted(steps["soft"])
    layers, ends = pixel_layers(_CONFIG, _SIDE, _SIDE), pixel_ends(_CONFIG, _SIDE, _SIDE)
    by_hand = (layers + ends, 2 * layers + soft_exchange(_CONFIG, _SIDE, _SIDE) + pixel_ends_of_soft())
    if (base, soft) != by_hand:
        raise SystemExit(f"torch counts {(base, soft)} operations, by hand they are {by_hand}")
    times = step_times(steps, 8 if benchmark.quick else 20)
    for name, seconds in times.items():
        benchmark.add(f"{name}_step_ms", 1e3 * seconds)
    benchmark.add("soft_vs_base_counted_ops", soft / base)
    benchmark.add("soft_step_vs_counted_ops", times["soft"] / times["base"] / (soft / base))
    benchmark.add("fused_vs_soft_step", times["fused"] / times["soft"])
    benchmark.add("cpu_soft_gflops", soft / times["soft"] / 1e9)


def pixel_ends_of_soft() -> int:
    """As `pixel_ends` for two streams of one embedding; and the time embedded twice more for the synchronization."""
    width = _CONFIG.hidden_dim
    return pixel_ends(_CONFIG, _SIDE, _SIDE, heads=2) + 2 * 2 * (128 + width) * width


def peak_bytes(architecture: str, side: int) -> int:
    """What a training step with checkpointing adds to this process's memory at its peak."""
    torch.set_num_threads(1)
    model = GridModel(PixelBackbone(_MEMORY_CONFIG), architecture)
    model.set_checkpointing(True)
    process, done = psutil.Process(), threading.Event()
    model(*grid(_MEMORY_CONFIG, 2, 2)).square().mean().backward()  # makes the gradients and what libraries keep
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(1e-3):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    model(*grid(_MEMORY_CONFIG, side, side)).square().mean().backward()
    done.set()
    watcher.join()
    return peak - before


def measure_memory(benchmark: Benchmark) -> None:
    """Each size in a process of its own, which gives back what it frees (glibc keeps blocks below this threshold)."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    small, large = (4, 8) if benchmark.quick else (8, 20)
    exponents = []
    for architecture in ("soft", "fused"):
        peaks = [
            int(subprocess.check_output([sys.executable, __file__, "--peak", architecture, str(side)], env=environment))
            for side in (small, large)
        ]
        benchmark.add(f"{architecture}_peak_mb_{large}x{large}", peaks[1] / 1e6)
        exponents.append(math.log(peaks[1] / peaks[0]) / math.log(large**2 / small**2))
        benchmark.add(f"{architecture}_memory_exponent", exponents[-1])
    benchmark.add("memory_exponent", max(exponents))


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--peak"]:
        print(peak_bytes(sys.argv[2], int(sys.argv[3])))
        return
    benchmark = Benchmark(__doc__)
    measure_steps(benchmark)
    measure_memory(benchmark)
    if torch.cuda.is_available():
        from model_gpu import measure_gpu

        measure_gpu(benchmark)
    else:
        print("  GPU figures: not measured (no CUDA device)")
    benchmark.finish()


if __name__ == "__main__":
    main()
