"""Adds Gaussians where the image asks for detail and drops those that have faded (3DGS, section 5.2)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from fourreal.evaluation.reconstruction.gaussians import Gaussians, concatenate, rotation_matrices
from fourreal.evaluation.reconstruction.rendering import Rendering

_EVERY = 100
_FIRST, _LAST = 0.15, 0.7
"""Shares of the steps between which Gaussians are added."""
_LEAST_OPACITY = 0.01
_GRADIENT = 2e-4
"""A mean that pulls harder than this (loss per half image width) asks for more Gaussians around it."""
_SMALL = 0.01
"""In room extents: a smaller Gaussian is doubled, a larger one is split."""
_SPLIT = 1.6


class Density:
    """Owns the canonical Gaussians as parameters, and their optimizer."""

    def __init__(
        self, start: Gaussians, rates: dict[str, float], extent: float, most: int, generator: torch.Generator
    ) -> None:
        self.extent, self.most, self.generator = extent, most, generator
        self.gaussians = Gaussians(**{name: tensor.requires_grad_() for name, tensor in start.tensors().items()})
        groups = [{"params": [t], "lr": rates[name], "name": name} for name, t in self.gaussians.tensors().items()]
        self.optimizer = torch.optim.Adam(groups, eps=1e-15)
        self._forget()

    def watch(self, rendering: Rendering) -> None:
        """Take note of how hard each mean was pulled in a rendering after its backward pass."""
        gradient = rendering.means.grad
        if gradient is not None:
            pull = gradient.reshape(-1, 2).norm(dim=1) * rendering.alpha.shape[1] / 2
            self._pull += pull * rendering.drawn
            self._seen += rendering.drawn

    def after_step(self, step: int, steps: int) -> None:
        """Add and drop where it is time to."""
        if (step + 1) % _EVERY or not _FIRST <= step / steps < _LAST:
            return
        with torch.no_grad():
            asks = self._pull / self._seen.clamp_min(1) > _GRADIENT
            room = max(0, self.most - len(self.gaussians))
            if int(asks.sum()) > room:
                strongest = (self._pull / self._seen.clamp_min(1) * asks).topk(room).indices
                asks = torch.zeros_like(asks)
                asks[strongest] = True
            large = self.gaussians.log_scales.amax(dim=1).exp() > _SMALL * self.extent
            halves = self._halves(self.gaussians[asks & large])
            added = concatenate(self.gaussians[asks & ~large], halves)
            keep = torch.sigmoid(self.gaussians.opacity_logits) > _LEAST_OPACITY
            self._replace(keep & ~(asks & large), added)

    def _halves(self, parents: Gaussians) -> Gaussians:
        """Two smaller Gaussians, placed at random within each parent."""
        pairs = concatenate(parents, parents)
        scales = pairs.log_scales.exp()
        local = scales * torch.randn(scales.shape, generator=self.generator).to(scales)
        moved = (rotation_matrices(pairs.quaternions) @ local[..., None])[..., 0]
        return replace(pairs, means=pairs.means + moved, log_scales=pairs.log_scales - math.log(_SPLIT))

    def _replace(self, keep: Tensor, added: Gaussians) -> None:
        tensors = {}
        for group in self.optimizer.param_groups:
            name, (old,) = group["name"], group["params"]
            extra = added.tensors()[name]
            new = torch.cat([old[keep], extra]).detach().requires_grad_()
            state = self.optimizer.state.pop(old, {})
            for moment in ("exp_avg", "exp_avg_sq"):
                if moment in state:
                    state[moment] = torch.cat([state[moment][keep], torch.zeros_like(extra)])
            group["params"] = [new]
            if state:
                self.optimizer.state[new] = state
            tensors[name] = new
        self.gaussians = Gaussians(**tensors)
        self._forget()

    def _forget(self) -> None:
        self._pull = torch.zeros_like(self.gaussians.opacity_logits, requires_grad=False)
        self._seen = torch.zeros_like(self._pull)
