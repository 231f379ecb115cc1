"""Training steps of the grid model on a CUDA device, as `train.py` runs them: speed and memory.

gpu_SIZE_zeroN_mfu, _ms, _gb   the pixel model `small` (33 M) and `paper` (`large`, 608 M), 8x8 grids at 72x128 in
                               bfloat16, everything fitted, ZeRO stage N on one device; and compiled (`_compiled`)

Each case is a process of its own: what one leaves on the device must not count for the next.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

import torch
import torch.distributed as dist
from reporting import Benchmark

from fourreal.training.model import GridModel, PixelBackbone, PixelConfig, border_given
from fourreal.training.model.operations import counted, peak_operations
from fourreal.training.settings.groups import EngineSettings, OptimizerSettings

_SIDE, _HEIGHT, _WIDTH, _PATCH = 8, 72, 128, 4
_SIZES = {"small": "small", "paper": "large"}


def measure_gpu(benchmark: Benchmark) -> None:
    """All cases; what does not fit the device is said."""
    stages = (0, 2) if benchmark.quick else (0, 1, 2, 3)
    cases = [(size, stage, compiles) for size in _SIZES for stage in stages for compiles in (False, True)]
    for size, stage, compiles in cases[:2] if benchmark.quick else cases:
        name = f"gpu_{size}_zero{stage}{'_compiled' if compiles else ''}"
        arguments = [sys.executable, __file__, size, str(stage), str(int(compiles))]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(f"  {name}: not measured ({last[:160]})")
            continue
        for figure, value in json.loads(done.stdout.splitlines()[-1]).items():
            benchmark.add(f"{name}_{figure}", value)


def case_figures(size: str, stage: int, compiles: bool) -> dict[str, float]:
    """One case, in this process."""
    from fourreal.training.engine.deepspeed import DeepSpeedEngine

    device = torch.device("cuda")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    dist.init_process_group("nccl", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    model = _model(size)
    model.set_checkpointing(size == "paper")
    settings: dict[str, Any] = {"zero_stage": stage, "compile": "inductor" if compiles else "none", "precision": "bf16"}
    engine = DeepSpeedEngine(model, device, OptimizerSettings(lr=1e-5), EngineSettings(**settings), 1)
    inputs = _inputs(device)

    def step() -> None:
        engine.backward(engine.forward(*inputs).square().mean())
        engine.step(1e-5)
        torch.cuda.synchronize()

    for _ in range(5):
        step()
    torch.cuda.reset_peak_memory_stats()
    best_s = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        step()
        best_s = min(best_s, time.perf_counter() - began)
    figures = {"ms": 1e3 * best_s, "gb": torch.cuda.max_memory_allocated() / 1e9}
    with torch.device("meta"):
        bare, nothing = _model(size), _inputs(torch.device("meta"))
    operations = counted(lambda: bare(*nothing).square().mean().backward())
    peak = peak_operations()
    return {**figures, "mfu": operations / best_s / peak} if peak else figures


def _model(size: str) -> GridModel:
    config = PixelConfig.of_size(_SIZES[size], height=_HEIGHT, width=_WIDTH, patch_size=_PATCH)
    return GridModel(PixelBackbone(config), "soft")


def _inputs(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noisy = torch.zeros(1, _SIDE, _SIDE, 3, _HEIGHT, _WIDTH, device=device)
    return noisy, torch.full((1,), 0.5, device=device), border_given(_SIDE, _SIDE)[None].to(device)


if __name__ == "__main__" and len(sys.argv) == 4:
    print(json.dumps(case_figures(sys.argv[1], int(sys.argv[2]), bool(int(sys.argv[3])))))
