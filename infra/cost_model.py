"""Time and cost of a data set and of the paper's training, from measured figures and from what is assumed.

    python infra/cost_model.py
    python infra/cost_model.py --gpu H100 --gpu-hour-usd 2.5 --mfu 0.35

Operations are counted on our own model at the paper's sizes. What was measured was measured on two CPU cores; the share
of a GPU's peak that training reaches, and prices, are assumptions: change them by flags.
`python tests/benchmarks/cost.py` holds the model of rendering against runs with 1, 2 and 4 workers.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fourreal.training.model import GridModel, PixelBackbone, PixelConfig, Upsampler, UpsamplerConfig
from fourreal.training.model.operations import PEAKS, counted
from fourreal.training.recipes.paper import CHAIN, STAGES

GPUS = (8, 64, 512)
GRID_CPU_S = 64 * 0.45
"""At 288x512 with 16 samples, measured: datagen/README.md."""
GRID_MB = 1.6
"""Frames alone, measured: README.md."""
_FLOAT_BYTES = 4
_DAY_S, _HOUR_S = 86_400.0, 3600.0


@dataclass(frozen=True)
class Rendering:
    """What a data set of rendered grids takes."""

    grid_cpu_s: float
    """Of one grid on one core, import to shard."""
    asset_mb: float
    """Of one asset's download."""
    grid_mb: float
    """Of one grid in a shard."""
    start_s: float = 0.0
    """Before the first worker works, and after the last."""

    def wall_s(self, grids: int, workers: int, cores: int, source_mb_s: float = math.inf) -> float:
        """With so many workers on so many cores, and assets that come at most so fast."""
        work_s = math.ceil(grids / min(workers, cores, grids)) * self.grid_cpu_s
        return self.start_s + max(work_s, grids * self.asset_mb / source_mb_s)

    def cores_that_saturate(self, source_mb_s: float) -> int:
        """From how many cores on the source of the assets is what is waited for."""
        return int(source_mb_s * self.grid_cpu_s / self.asset_mb)


@dataclass(frozen=True)
class Stage:
    """A stage of training at the paper's size."""

    name: str
    steps: int
    samples: int
    """Of a step, on all workers."""
    operations: int
    """Of the forward and backward pass of one sample."""
    trained: int
    """Parameters whose gradients travel."""

    @property
    def total(self) -> float:
        """Operations of the whole stage."""
        return float(self.steps) * self.samples * self.operations

    def step_s(self, gpus: int, operations_per_s: float, link_bytes_per_s: float) -> float:
        """Time of a step: the largest share of a worker, then its gradients around the ring, and the weights back."""
        share = math.ceil(self.samples / gpus) * self.operations / operations_per_s
        ring = 2 * (gpus - 1) / gpus * _FLOAT_BYTES * self.trained / link_bytes_per_s
        return share + ring

    def wall_s(self, gpus: int, operations_per_s: float, link_bytes_per_s: float) -> float:
        """Of the whole stage."""
        return self.steps * self.step_s(gpus, operations_per_s, link_bytes_per_s)


def paper_stages() -> list[Stage]:
    """The chain of recipes of 4Real-Video and the upsampler behind it, with operations counted by torch on `meta`."""
    return [_stage(name) for name in (*CHAIN, "upsampler")]


def _stage(name: str) -> Stage:
    recipe = STAGES[name]("paper")
    with torch.device("meta"):
        model, inputs = _upsampler(recipe) if name == "upsampler" else _transformer(name, recipe)
        operations = counted(lambda: model(*inputs).square().mean().backward())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Stage(name, recipe["steps"], recipe["batch_size"] * recipe["workers"], operations, trained)


def _upsampler(recipe: dict[str, Any]) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The model, and the inputs of one sample."""
    model, times = recipe["model"], recipe["times"]
    high, low = (model["height"], model["width"]), (72, 128)
    config = UpsamplerConfig.of_size(model["size"], low, high, frames=times, patch_size=model["patch_size"])
    noisy, small = torch.zeros(1, times, 3, *high), torch.zeros(1, times, 3, *low)
    return Upsampler(config), (noisy, small, torch.zeros(1), torch.zeros(1))


def _transformer(name: str, recipe: dict[str, Any]) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The base or grid model, and the inputs of one sample."""
    first, last = (STAGES[stage]("paper")["model"] for stage in ("base-36x64", "base-72x128"))
    size = first if name == "base-36x64" else {**first, **last}
    backbone = PixelBackbone(PixelConfig.of_size(size.pop("size"), **size))
    views, times, pixels = recipe["views"], recipe["times"], (3, size["height"], size["width"])
    if name.startswith("base"):
        given = torch.zeros(1, times, dtype=torch.bool)
        return backbone, (torch.zeros(1, times, *pixels), torch.zeros(1), given, torch.zeros(1, dtype=torch.int64))
    model = GridModel(backbone, "soft")
    model.trainable_parameters("sync-only")
    given = torch.zeros(1, views, times, dtype=torch.bool)
    return model, (torch.zeros(1, views, times, *pixels), torch.zeros(1), given)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    lines = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    print()


def _print_rendering(options: argparse.Namespace) -> None:
    model = Rendering(options.grid_cpu_s, options.asset_mb, options.grid_mb)
    hours = options.assets * model.grid_cpu_s / _HOUR_S
    print(f"{options.assets} assets, a grid of 8x8 at 288x512 of each: {hours:,.0f} core-hours,", end=" ")
    print(
        f"{hours * options.core_hour_usd:,.0f} USD, {options.assets * model.grid_mb / 1e6:.2f} TB of shards,", end=" "
    )
    print(f"{options.assets * model.asset_mb / 1e6:.2f} TB downloaded")
    rows = []
    for cores in (16, 128, 1024):
        wall_s = model.wall_s(options.assets, cores, cores, options.source_mb_s)
        free_s = model.wall_s(options.assets, cores, cores)
        rows.append((cores, f"{wall_s / _HOUR_S:.1f}", "cores" if wall_s == free_s else "source of the assets"))
    _table(("cores", "hours", "what is waited for"), rows)
    print(f"The source ({options.source_mb_s:g} MB/s) is the limit from", end=" ")
    print(f"{model.cores_that_saturate(options.source_mb_s):,} cores on.\n")


def _print_training(options: argparse.Namespace) -> None:
    stages = paper_stages()
    speed = PEAKS[options.gpu] * options.mfu
    link = options.link_gb_s * 1e9
    rows = []
    for stage in stages:
        days = [f"{stage.wall_s(gpus, speed, link) / _DAY_S:.2f}" for gpus in GPUS]
        useful = f"{min(1.0, stage.samples / GPUS[-1]):.0%}"
        rows.append((stage.name, stage.steps, stage.samples, f"{stage.total:.1e}", *days, useful))
    totals = [sum(stage.wall_s(gpus, speed, link) for stage in stages) / _DAY_S for gpus in GPUS]
    total = sum(stage.total for stage in stages)
    rows.append(("all", "", "", f"{total:.1e}", *(f"{days:.2f}" for days in totals), ""))
    prices = [f"{24 * gpus * days * options.gpu_hour_usd:,.0f}" for gpus, days in zip(GPUS, totals, strict=True)]
    rows.append(("USD", "", "", "", *prices, ""))
    print(f"The paper's training on {options.gpu}, {options.mfu:.0%} of its peak, days on so many GPUs:")
    head = ("stage", "steps", "batch", "operations", *map(str, GPUS), f"busy of {GPUS[-1]}")
    _table(head, rows)
    paper = 24 * 12 * _DAY_S * PEAKS["A100"]
    base = sum(stage.total for stage in stages if stage.name.startswith("base"))
    print("The paper names 12 days on 24 A100 for its base model: the steps of our recipe would take", end=" ")
    print(f"{base / paper:.0%} of their peak.")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=40_000)
    parser.add_argument("--grid-cpu-s", type=float, default=GRID_CPU_S, help="measured")
    parser.add_argument("--grid-mb", type=float, default=GRID_MB, help="measured")
    parser.add_argument("--asset-mb", type=float, default=10.0, help="assumed")
    parser.add_argument("--source-mb-s", type=float, default=200.0, help="assumed, of all downloads together")
    parser.add_argument("--core-hour-usd", type=float, default=0.02, help="assumed, spot")
    parser.add_argument("--gpu", choices=sorted(PEAKS), default="A100")
    parser.add_argument("--mfu", type=float, default=0.35, help="assumed: share of the data sheet's peak")
    parser.add_argument("--gpu-hour-usd", type=float, default=1.5, help="assumed")
    parser.add_argument("--link-gb-s", type=float, default=12.0, help="assumed, of a GPU between hosts")
    options = parser.parse_args()
    _print_rendering(options)
    _print_training(options)


if __name__ == "__main__":
    main()
