"""The tiled rasterizer against the published formulas, a pixel and a Gaussian at a time, and its gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fourreal.evaluation.reconstruction import rasterizer
from fourreal.evaluation.reconstruction.gaussians import Gaussians, rotation_matrices
from fourreal.evaluation.reconstruction.projection import Camera, project
from fourreal.evaluation.reconstruction.rasterizer import rasterize

HEIGHT, WIDTH = 19, 27  # no multiple of a tile


def some_gaussians(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Gaussians:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=dtype)

    return Gaussians(0.6 * normal(count, 3), 0.5 * normal(count, 3) - 2.0, normal(count, 4), normal(count) + 1.0,
                     torch.rand(count, 3, generator=draw, dtype=dtype))  # fmt: skip


def camera(dtype: torch.dtype = torch.float64, distance: float = 3.0) -> Camera:
    turn = rotation_matrices(torch.tensor([[0.9, 0.1, -0.2, 0.15]], dtype=dtype))[0]
    pose = torch.eye(4, dtype=dtype)
    pose[:3, :3], pose[2, 3] = turn, distance
    intrinsics = torch.tensor([[24.0, 0.0, 13.0], [0.0, 22.0, 9.0], [0.0, 0.0, 1.0]], dtype=dtype)
    return Camera(intrinsics, pose, HEIGHT, WIDTH)


def by_the_book(gaussians: Gaussians, view: Camera, background: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """gsplat's documented forward pass in numpy: J W Sigma W^T J^T + 0.3 I, then front to back, by pixel."""
    R, p = view.world_to_camera[:3, :3].numpy(), view.world_to_camera[:3, 3].numpy()
    K = view.intrinsics.numpy()
    splats = []
    for i in range(len(gaussians)):
        x, y, z = R @ gaussians.means[i].numpy() + p
        if z <= 0.01:
            continue
        q = gaussians.quaternions[i].numpy()
        w, a, b, c = q / np.linalg.norm(q)
        M = np.array([
            [1 - 2 * (b * b + c * c), 2 * (a * b - w * c), 2 * (a * c + w * b)],
            [2 * (a * b + w * c), 1 - 2 * (a * a + c * c), 2 * (b * c - w * a)],
            [2 * (a * c - w * b), 2 * (b * c + w * a), 1 - 2 * (a * a + b * b)],
        ])  # fmt: skip
        sigma = M @ np.diag(np.exp(2 * gaussians.log_scales[i].numpy())) @ M.T
        margin_x, margin_y = 0.3 * 0.5 * WIDTH / K[0, 0], 0.3 * 0.5 * HEIGHT / K[1, 1]
        tx = z * np.clip(x / z, -K[0, 2] / K[0, 0] - margin_x, (WIDTH - K[0, 2]) / K[0, 0] + margin_x)
        ty = z * np.clip(y / z, -K[1, 2] / K[1, 1] - margin_y, (HEIGHT - K[1, 2]) / K[1, 1] + margin_y)
        J = np.array([[K[0, 0] / z, 0, -K[0, 0] * tx / z**2], [0, K[1, 1] / z, -K[1, 1] * ty / z**2]])
        cov = J @ R @ sigma @ R.T @ J.T + 0.3 * np.eye(2)
        mean = np.array([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]])
        opacity = 1 / (1 + math.exp(-float(gaussians.opacity_logits[i])))
        splats.append((z, mean, np.linalg.inv(cov), opacity, gaussians.colours[i].numpy()))
    splats.sort(key=lambda splat: splat[0])
    colour = np.zeros((HEIGHT, WIDTH, 3))
    alpha, depth = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    for row in range(HEIGHT):
        for column in range(WIDTH):
            left = 1.0
            for z, mean, conic, opacity, rgb in splats:
                d = np.array([column + 0.5, row + 0.5]) - mean
                a = min(0.999, opacity * math.exp(-0.5 * d @ conic @ d))
                if a < 1 / 255:
                    continue
                if left * (1 - a) <= 1e-4:
                    break
                colour[row, column] += a * left * rgb
                depth[row, column] += a * left * z
                left *= 1 - a
            alpha[row, column] = 1 - left
            colour[row, column] += left * background.numpy()
    return colour, alpha, depth / np.maximum(alpha, 1e-6)


@pytest.mark.parametrize(("count", "seed"), [(1, 0), (40, 1), (400, 2)])
def test_the_image_is_that_of_the_formulas(count: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians, view = some_gaussians(count, seed), camera(distance=1.5)  # some are behind the camera
    background = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    expected = by_the_book(gaussians, view, background)
    for numbers in (1, rasterizer._BATCH_NUMBERS):  # a tile at a time, and many side by side
        monkeypatch.setattr(rasterizer, "_BATCH_NUMBERS", numbers)
        made = rasterize(gaussians, view, background)
        for found, true in zip((made.colour, made.alpha, made.depth), expected, strict=True):
            assert np.abs(found.numpy() - true).max() < 1e-9


def test_opaque_gaussians_hide_what_is_behind_them() -> None:
    wall = some_gaussians(60, 3)
    wall = Gaussians(0.2 * wall.means, wall.log_scales + 1.0, wall.quaternions, wall.opacity_logits + 9.0, wall.colours)
    background = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    expected = by_the_book(wall, camera(), background)
    made = rasterize(wall, camera(), background)
    assert made.alpha.max() > 0.999
    assert np.abs(made.colour.numpy() - expected[0]).max() < 1e-9


def test_gradients_are_those_of_finite_differences() -> None:
    start, view = some_gaussians(7, 4), camera()
    weights = torch.randn(HEIGHT, WIDTH, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def measure(*tensors: Tensor) -> Tensor:
        made = rasterize(Gaussians(*tensors), view, tensors[-1].mean(dim=0))
        picture = torch.cat([made.colour, made.alpha[..., None], (made.depth * made.alpha)[..., None]], dim=-1)
        return (picture * weights).sum()

    # A step of 1e-7 seldom carries a pixel over one of the cut-offs, where the image itself jumps by 1/255.
    tensors = tuple(tensor.clone().requires_grad_() for tensor in start.tensors().values())
    assert torch.autograd.gradcheck(measure, tensors, eps=1e-7, atol=1e-4, rtol=1e-3)


def test_nothing_in_sight_leaves_the_background() -> None:
    behind = some_gaussians(5)
    view = camera(distance=-30.0)
    made = rasterize(behind, view, torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    assert torch.equal(made.alpha, torch.zeros(HEIGHT, WIDTH, dtype=torch.float64))
    assert torch.allclose(made.colour[3, 4], torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    assert float(project(behind, view).extents.max()) == 0.0
