"""Fits deformable Gaussians to the frames of a grid.

    scene = fit(observations, train, FitSettings(steps=1000))
    rendering = scene.render(camera, time)

Source: 3D Gaussian splatting (Kerbl et al. 2023) for the canonical Gaussians and their densification, 4D-GS (Wu et
al. 2024) for the deformation; rigidity as in Dynamic 3D Gaussians (Luiten et al. 2024, equation 8), isometry only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fourreal.evaluation.reconstruction.deformation import Deformation
from fourreal.evaluation.reconstruction.density import Density
from fourreal.evaluation.reconstruction.environment import Environment
from fourreal.evaluation.reconstruction.gaussians import Gaussians
from fourreal.evaluation.reconstruction.initial import initial_gaussians
from fourreal.evaluation.reconstruction.loss import image_loss
from fourreal.evaluation.reconstruction.observations import Observations
from fourreal.evaluation.reconstruction.projection import Camera
from fourreal.evaluation.reconstruction.rasterizer import rasterize
from fourreal.evaluation.reconstruction.rendering import Rendering

_RATES = {"means": 2e-3, "log_scales": 1e-2, "quaternions": 5e-3, "opacity_logits": 5e-2, "colours": 1e-2}
"""Adam's learning rates; that of the means is in units of the room's extent."""
_LAST_RATE = 0.05
"""All rates fall exponentially to this share of themselves."""
_STILL_SHARE = 0.1
"""Share of the steps in which the canonical Gaussians are fitted to the first time alone."""
_COARSE_SHARE = 0.5
"""Share of the steps that look at frames of half the size: a quarter of the pixels, and detail comes last anyway."""
_LEAST_COARSE_PX = 32
"""Frames are not halved to less than this."""
_NEIGHBOURS = 8
_RIGID_POINTS = 256


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a scene is fitted."""

    steps: int = 1000
    """Optimisation steps, one frame each."""
    initial_points: int = 4000
    """Gaussians to start from."""
    most_points: int = 20000
    """No more Gaussians are added beyond this."""
    rigidity: float = 0.05
    """Weight of keeping distances between neighbours over time."""
    smoothness: float = 0.01
    """Weight of keeping the deformation smooth over time, and what lies behind over directions."""
    seed: int = 0
    """Of the first points and the order of the frames."""


@dataclass(frozen=True, eq=False)
class FittedScene:
    """Canonical Gaussians, their deformation, and what lies behind them. Times run from 0 to 1 over the grid."""

    gaussians: Gaussians
    deformation: Deformation
    environment: Environment

    @torch.no_grad()
    def at(self, time: float) -> Gaussians:
        """The Gaussians at a time."""
        moved: Gaussians = self.deformation(self.gaussians, time)
        return moved

    @torch.no_grad()
    def render(self, camera: Camera, time: float) -> Rendering:
        """The scene from a camera at a time."""
        return rasterize(self.at(time), camera, self.environment(camera).clamp(0, 1))


def time_of(t: int, times: int) -> float:
    """Position of a grid's time on the scene's time line."""
    return t / (times - 1) if times > 1 else 0.0


def fit(
    observations: Observations,
    train: Tensor,
    settings: FitSettings,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> FittedScene:
    """Fit to the frames that `train` [V, T] bool marks; `progress(step, loss)` is called after each step."""
    return _Fit(observations, train, settings).run(progress)


class _Fit:
    def __init__(self, observations: Observations, train: Tensor, settings: FitSettings) -> None:
        self.settings = settings
        self.fine = observations
        small = min(observations.frames.shape[2:4]) < 2 * _LEAST_COARSE_PX
        self.coarse = observations if small else observations.halved()
        self.frames = [(int(v), int(t)) for v, t in train.nonzero()]
        self.times = train.shape[1]
        self.generator = torch.Generator().manual_seed(settings.seed)
        room = observations.room()
        views = sorted({v for v, _ in self.frames})
        device = observations.frames.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.deformation = Deformation(room.centre.cpu(), room.extent, self.times).to(device)
        self.environment = Environment().to(device)
        start = initial_gaussians(observations, views, settings.initial_points, self.generator)
        rates = {**_RATES, "means": _RATES["means"] * room.extent}
        self.density = Density(start, rates, room.extent, settings.most_points, self.generator)
        networks = [
            {"params": list(self.deformation.planes), "lr": 1e-2},
            {"params": list(self.deformation.network.parameters()), "lr": 2e-3},
            {"params": list(self.environment.parameters()), "lr": 2e-2},
        ]
        self.optimizer = torch.optim.Adam(networks, eps=1e-15)
        self.extent = room.extent

    def run(self, progress: Callable[[int, float], None]) -> FittedScene:
        steps = self.settings.steps
        for step, (v, t) in zip(range(steps), self._order(steps), strict=False):
            loss = self._step(self.coarse if step < _COARSE_SHARE * steps else self.fine, v, t)
            self._decay(step / steps)
            self.density.after_step(step, steps)
            progress(step, loss)
        gaussians = Gaussians(**{name: tensor.detach() for name, tensor in self.density.gaussians.tensors().items()})
        return FittedScene(gaussians, self.deformation.eval(), self.environment.eval())

    def _order(self, steps: int) -> Iterator[tuple[int, int]]:
        """Frames without end: those of the first time, then all, each time round in a new order."""
        still = [frame for frame in self.frames if frame[1] == min(t for _, t in self.frames)]
        first = round(_STILL_SHARE * steps)
        drawn = 0
        while True:
            choices = still if drawn < first else self.frames
            for i in torch.randperm(len(choices), generator=self.generator).tolist():
                yield choices[i]
                drawn += 1
                if drawn == first:
                    break

    def _step(self, observations: Observations, v: int, t: int) -> float:
        canonical = self.density.gaussians
        moved = self.deformation(canonical, time_of(t, self.times))
        camera = observations.cameras[v]
        rendering = rasterize(moved, camera, self.environment(camera))
        rendering.means.retain_grad()
        loss = image_loss(rendering.colour, observations.frames[v, t])
        if observations.mask is not None:
            loss = loss + 0.1 * (rendering.alpha - observations.mask[v, t]).abs().mean()
        loss = loss + self.settings.rigidity * self._stretching(canonical, moved)
        loss = loss + self.settings.smoothness * (self.deformation.roughness() + self.environment.roughness())
        for optimizer in (self.optimizer, self.density.optimizer):
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.density.watch(rendering)
        for optimizer in (self.optimizer, self.density.optimizer):
            optimizer.step()
        return float(loss.detach())

    def _stretching(self, canonical: Gaussians, moved: Gaussians) -> Tensor:
        """Mean change of the distances between neighbours, as a share of the room; over a few random Gaussians."""
        some = torch.randint(len(canonical), (_RIGID_POINTS,), generator=self.generator).to(canonical.means.device)
        at_rest = canonical.means.detach()
        near = (
            torch.cdist(at_rest[some], at_rest).topk(min(_NEIGHBOURS + 1, len(at_rest)), largest=False).indices[:, 1:]
        )
        before = (at_rest[some, None] - at_rest[near]).norm(dim=-1)
        after = (moved.means[some, None] - moved.means[near]).norm(dim=-1)
        change: Tensor = (after - before).abs().mean() / self.extent
        return change

    def _decay(self, done: float) -> None:
        factor = math.exp(math.log(_LAST_RATE) * done)
        for optimizer in (self.optimizer, self.density.optimizer):
            for group in optimizer.param_groups:
                group.setdefault("first_lr", group["lr"])
                group["lr"] = group["first_lr"] * factor
