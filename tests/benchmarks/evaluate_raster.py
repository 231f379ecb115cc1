"""The CPU rasterizer beside dense compositing; run through evaluate.py.

The floor of the rasterizer is the arithmetic of the pairs that count: about 40 operations for each pixel that a
Gaussian's box covers, forward and backward.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch
from reporting import Benchmark
from torch import Tensor

from fourreal.evaluation.reconstruction import Camera, Gaussians, rasterize
from fourreal.evaluation.reconstruction.projection import LEAST_ALPHA, project
from fourreal.evaluation.reconstruction.rasterizer import LEAST_TRANSMITTANCE, MOST_ALPHA

COUNT, HEIGHT, WIDTH = 20_000, 96, 160
_SLAB_ROWS = 4


def shell() -> tuple[Gaussians, Camera]:
    """Gaussians on a ball that fills the frame, as a fitted object has them."""
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(COUNT, 3, generator=draw)
    points = 0.9 * points / points.norm(dim=1, keepdim=True) + 0.05 * torch.randn(COUNT, 3, generator=draw)
    gaussians = Gaussians(
        means=points,
        log_scales=np.log(0.012) + 0.4 * torch.randn(COUNT, 3, generator=draw),
        quaternions=torch.randn(COUNT, 4, generator=draw),
        opacity_logits=1.5 * torch.randn(COUNT, generator=draw),
        colours=torch.rand(COUNT, 3, generator=draw),
    )
    pose = torch.eye(4)
    pose[2, 3] = 2.6
    focal = 1.1 * HEIGHT
    intrinsics = torch.tensor([[focal, 0.0, WIDTH / 2], [0.0, focal, HEIGHT / 2], [0.0, 0.0, 1.0]])
    return gaussians, Camera(intrinsics, pose, HEIGHT, WIDTH)


def _fresh(gaussians: Gaussians) -> Gaussians:
    return Gaussians(**{name: tensor.clone().requires_grad_() for name, tensor in gaussians.tensors().items()})


def tiled_s(gaussians: Gaussians, camera: Camera) -> float:
    """One forward and backward pass of ours."""
    parameters = _fresh(gaussians)
    start = time.perf_counter()
    rasterize(parameters, camera).colour.square().sum().backward()
    return time.perf_counter() - start


def dense_s(gaussians: Gaussians, camera: Camera, slabs: int) -> float:
    """The same by autograd with every Gaussian at every pixel, measured on `slabs` slabs of rows and scaled up."""
    parameters = _fresh(gaussians)
    all_slabs = HEIGHT // _SLAB_ROWS
    start = time.perf_counter()
    for slab in np.linspace(0, all_slabs - 1, slabs).astype(int):
        _dense_rows(parameters, camera, int(slab) * _SLAB_ROWS).square().sum().backward()
    return (time.perf_counter() - start) * all_slabs / slabs


def _dense_rows(gaussians: Gaussians, camera: Camera, first: int) -> Tensor:
    projected = project(gaussians, camera)
    order = projected.depths.argsort()
    y, x = torch.meshgrid(torch.arange(first, first + _SLAB_ROWS) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    dx, dy = (p.reshape(-1, 1) - projected.means[order, i] for i, p in enumerate((x, y)))
    a, b, c = projected.conics[order].unbind(1)
    raw = torch.sigmoid(gaussians.opacity_logits[order]) * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
    alpha = torch.where(raw >= LEAST_ALPHA, raw.clamp_max(MOST_ALPHA), 0.0)
    left = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat([torch.ones_like(left[:, :1]), left[:, :-1]], dim=1)
    return torch.where(left > LEAST_TRANSMITTANCE, alpha * before, 0.0) @ gaussians.colours[order]


def measure(benchmark: Benchmark) -> None:
    """raster_s and raster_vs_dense, on two threads."""
    torch.set_num_threads(2)
    gaussians, camera = shell()
    tiled_s(gaussians, camera)
    tiled = statistics.median(tiled_s(gaussians, camera) for _ in range(5 if benchmark.quick else 15))
    benchmark.add("raster_s", tiled)
    benchmark.add("raster_vs_dense", dense_s(gaussians, camera, 2 if benchmark.quick else HEIGHT // _SLAB_ROWS) / tiled)
