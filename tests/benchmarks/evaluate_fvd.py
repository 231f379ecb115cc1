"""What FVD costs beyond its network, and what a second model costs; for `evaluate.py`.

In CPU seconds of one process. The network is I3D's own architecture with random weights, as TorchScript, on one
thread: what reads, prepares, hashes and compares the videos is the real thing. The floor of the first figure is 1; of
the second, one of seven passes (reference, model and five baselines), 0.14.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import Benchmark
from torch import nn

from fourreal.evaluation.given import BORDER
from fourreal.evaluation.grid_scores import METHODS
from fourreal.evaluation.metrics import choose_metrics
from fourreal.evaluation.networks import FeatureCache, Networks, torchscript
from fourreal.evaluation.pairing import pair_up
from fourreal.evaluation.pretrained import REGISTRY, WeightsStore
from fourreal.evaluation.scoring import score_pairs
from fourreal.evaluation.shelf import Shelf
from fourreal.platform.codec import encode
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

VIEWS, TIMES, HEIGHT, WIDTH = 3, 9, 288, 512
MIXED = (
    *((192, 64, 96, 128, 16, 32, 32), (256, 128, 128, 192, 32, 96, 64), None),
    *((480, 192, 96, 208, 16, 48, 64), (512, 160, 112, 224, 24, 64, 64), (512, 128, 128, 256, 24, 64, 64)),
    *((512, 112, 144, 288, 32, 64, 64), (528, 256, 160, 320, 32, 128, 128), None),
    *((832, 256, 160, 320, 32, 128, 128), (832, 384, 192, 384, 48, 128, 128)),
)
"""Channels of the inception blocks of I3D (Carreira and Zisserman 2017, figure 3); None is a pooling between them."""


def _unit(channels_in: int, channels_out: int, side: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv3d(channels_in, channels_out, side, stride=stride, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out), nn.ReLU())


class _Mixed(nn.Module):
    def __init__(self, c: int, a: int, b1: int, b3: int, d1: int, d3: int, pool: int) -> None:
        super().__init__()
        self.a = _unit(c, a, 1)
        self.b = nn.Sequential(_unit(c, b1, 1), _unit(b1, b3, 3))
        self.d = nn.Sequential(_unit(c, d1, 1), _unit(d1, d3, 3))
        self.p = nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), _unit(c, pool, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.a(x), self.b(x), self.d(x), self.p(x)], dim=1)


class RandomI3D(nn.Module):
    """I3D with 400 outputs, called as the published TorchScript is."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_unit(3, 64, 7, stride=2), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))]
        layers += [_unit(64, 64, 1), _unit(64, 192, 3), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))]
        pools = iter([nn.MaxPool3d(3, 2, 1), nn.MaxPool3d(2, 2, ceil_mode=True)])
        layers += [next(pools) if channels is None else _Mixed(*channels) for channels in MIXED]
        self.features = nn.Sequential(*layers)
        self.logits = nn.Conv3d(1024, 400, 1)

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        return self.logits(self.features(x)).mean(dim=(2, 3, 4))


class Stopwatch(torchscript.I3D):
    """The metric's own I3D that adds up the seconds inside the network."""

    seconds = 0.0

    def __init__(self, path: Path, device: str) -> None:
        super().__init__(path, device)
        inner = self.network
        # TorchScript's executor watches its first call.
        inner(torch.zeros(1, 3, TIMES, 224, 224), rescale=False, resize=False, return_features=True)
        self.network = self._timed(inner)

    @staticmethod
    def _timed(inner: Any) -> Callable[..., torch.Tensor]:
        def call(*arguments: Any, **options: Any) -> torch.Tensor:
            start = time.process_time()
            result: torch.Tensor = inner(*arguments, **options)
            Stopwatch.seconds += time.process_time() - start
            return result

        return call


def _grids(count: int, seed: int | None) -> list[Grid]:
    """Smooth random grids; with a seed, noise on what a model would have generated."""
    grids = []
    for n in range(count):
        draw = np.random.default_rng(n)
        small = draw.integers(0, 255, (VIEWS, TIMES, 9, 16, 3), dtype=np.uint8)
        frames = small.repeat(HEIGHT // 9, axis=2).repeat(WIDTH // 16, axis=3)
        provenance: dict[str, Any] = {}
        if seed is not None:
            noise = np.random.default_rng([seed, n]).integers(0, 30, frames[1:, 1:].shape, dtype=np.uint8)
            frames[1:, 1:] = frames[1:, 1:] // 2 + noise
            provenance = {"given": BORDER, "model_sha256": f"{seed:064}"}
        grids.append(Grid(frames, GridMeta(f"g{n}", fps=8.0, provenance=provenance)))
    return grids


def _write(folder: Path, grids: list[Grid]) -> Shelf:
    write_shard(Storage(str(folder)), 0, [(grid.key, encode(grid, lossless=True)) for grid in grids])
    return Shelf(Storage(str(folder)))


def measure(benchmark: Benchmark) -> None:
    """All figures, over one grid a model, or four."""
    count = 1 if benchmark.quick else 4
    torchscript.I3D = Stopwatch  # type: ignore[misc]
    i3d = REGISTRY["i3d"]
    unpublished = dataclasses.replace(i3d, files=tuple(dataclasses.replace(f, sha256="") for f in i3d.files))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "weights" / "i3d").mkdir(parents=True)
        torch.manual_seed(0)
        network = torch.jit.script(RandomI3D().eval())
        network.save(str(root / "weights" / "i3d" / i3d.files[0].name))
        references = _write(root / "references", _grids(count, None))
        models = [_write(root / name, _grids(count, seed)) for seed, name in enumerate(("first", "second"))]
        costs, inside = [], []
        for predictions in models:
            store = WeightsStore(str(root / "weights"), {"i3d": unpublished})
            networks = Networks(store, cache=FeatureCache(root / "features"))
            networks._network("i3d")  # loading is no part of a pipeline over many clips
            Stopwatch.seconds = 0.0
            start = time.process_time()
            metrics = choose_metrics(("fvd_time",), networks, allow_few=True)
            board = score_pairs(pair_up(predictions, references), metrics)
            assert all(board.score(method, metrics[0]).value is not None for method in METHODS)
            costs.append(time.process_time() - start)
            inside.append(Stopwatch.seconds)
    benchmark.add("fvd_pipeline_vs_network", costs[0] / inside[0])
    benchmark.add("fvd_second_model_vs_first", costs[1] / costs[0])
