"""What gsplat is asked for on a GPU, and that its answer is read rightly; the kernels themselves need CUDA."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.evaluation.ball_scene import gaussians, moving_ball
from torch import Tensor

from fourreal.evaluation.reconstruction import Camera, FitSettings, Gaussians, Observations, fit, rasterize
from fourreal.evaluation.reconstruction import rasterizer as rasterizer_module
from fourreal.evaluation.reconstruction.gsplat_rasterizer import rasterize_with_gsplat
from fourreal.evaluation.reconstruction.projection import project
from fourreal.platform.errors import UserError


def twin(**asked: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """`gsplat.rasterization` as its documentation describes it, by our own rasterizer."""
    assert asked["packed"] is False
    assert asked["render_mode"] == "RGB+ED"
    assert (asked["eps2d"], asked["near_plane"]) == (0.3, 0.01)
    opacities = asked["opacities"]
    given = Gaussians(
        asked["means"], asked["scales"].log(), asked["quats"], torch.logit(opacities, eps=1e-6), asked["colors"]
    )
    camera = Camera(asked["Ks"][0], asked["viewmats"][0], asked["height"], asked["width"])
    projected = project(given, camera)
    means = projected.means[None]
    made = rasterizer_module.draw(replace(projected, means=means[0]), given, camera)
    picture = torch.cat([made.colour, made.depth[..., None]], dim=-1)
    radii = made.drawn[None, :, None].expand(1, -1, 2).int()
    return picture[None], made.alpha[None, ..., None], {"means2d": means, "radii": radii}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("gsplat")
    vars(module)["rasterization"] = twin
    monkeypatch.setitem(sys.modules, "gsplat", module)


@pytest.mark.usefixtures("installed")
def test_gsplat_is_asked_for_the_same_image_and_gradients() -> None:
    camera = Observations.of_grid(moving_ball()).cameras[1]
    images, pulls = [], []
    for draw in (rasterize, rasterize_with_gsplat):
        some = Gaussians(**{name: t.clone().requires_grad_() for name, t in gaussians(40).tensors().items()})
        made = draw(some, camera)
        made.means.retain_grad()
        (made.colour.square().sum() + made.depth.sum()).backward()
        images.append(torch.cat([made.colour, made.alpha[..., None], made.depth[..., None]], dim=-1))
        assert made.means.grad is not None
        pulls.append((made.means.grad.reshape(-1, 2), made.drawn, some.log_scales.grad, some.opacity_logits.grad))
    assert torch.allclose(images[0], images[1], atol=1e-5)
    for ours, theirs in zip(*pulls, strict=True):
        assert torch.allclose(ours.float(), theirs.float(), rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("installed")
def test_a_scene_is_fitted_through_gsplat_as_through_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Observations.of_grid(moving_ball())
    train = torch.ones(seen.frames.shape[:2], dtype=torch.bool)
    settings = FitSettings(steps=100, initial_points=50)  # far enough that Gaussians are added by their pull
    ours = fit(seen, train, settings)
    monkeypatch.setattr(rasterizer_module, "_rasterize", rasterize_with_gsplat)
    theirs = fit(seen, train, settings)
    assert len(theirs.gaussians) == pytest.approx(len(ours.gaussians), rel=0.2)
    one, other = (scene.render(seen.cameras[0], 0.0).colour for scene in (ours, theirs))
    assert (one - other).abs().mean() < 0.02


def test_without_gsplat_a_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(UserError, match="pip install gsplat, or use --device cpu"):
        rasterize_with_gsplat(gaussians(3), Observations.of_grid(moving_ball()).cameras[0])


def test_the_real_gsplat_knows_every_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    gsplat = pytest.importorskip("gsplat", reason="gsplat is not installed")
    signature = inspect.signature(gsplat.rasterization)

    def check(**asked: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        signature.bind(**asked)
        return twin(**asked)

    monkeypatch.setattr(gsplat, "rasterization", check)
    rasterize_with_gsplat(gaussians(3), Observations.of_grid(moving_ball()).cameras[0])


@pytest.mark.gpu
def test_on_a_gpu_gsplat_draws_what_ours_draws() -> None:
    pytest.importorskip("gsplat", reason="gsplat is not installed")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    seen = Observations.of_grid(moving_ball())
    some = gaussians(200)
    on_gpu = Gaussians(**{name: tensor.cuda() for name, tensor in some.tensors().items()})
    ours, theirs = rasterize(some, seen.cameras[0]), rasterize(on_gpu, seen.to("cuda").cameras[0])
    assert (ours.colour - theirs.colour.cpu()).abs().max() < 2e-2
    assert (ours.alpha - theirs.alpha.cpu()).abs().max() < 2e-2
