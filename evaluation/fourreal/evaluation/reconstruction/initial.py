"""The Gaussians a fit starts from: random points in the room, and where there are masks only those within all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fourreal.evaluation.reconstruction.foreground import guess_foreground
from fourreal.evaluation.reconstruction.gaussians import Gaussians
from fourreal.evaluation.reconstruction.observations import Observations
from fourreal.evaluation.reconstruction.projection import NEAR

_TRIES = 16
_CANDIDATES = 8192
"""Points drawn at a time: an object takes a few hundredths of the room."""


def initial_gaussians(
    observations: Observations, views: list[int], count: int, generator: torch.Generator
) -> Gaussians:
    """At most `count` Gaussians for time 0 as the given `views` see it.

    Points outside of the mask in any view are dropped (the visual hull, Laurentini 1994); where no mask is known, it is
    guessed.
    """
    room = observations.room()
    mask = guess_foreground(observations, views) if observations.mask is None else observations.mask[:, 0]

    def draw() -> Tensor:
        return (2 * torch.rand(max(count, _CANDIDATES), 3, generator=generator) - 1).to(room.centre)

    kept, colours = [], []
    for _ in range(_TRIES):
        points = room.centre + 1.2 * room.extent * draw()
        colour, inside = _look_up(observations, mask, views, points)
        kept.append(points[inside])
        colours.append(colour[inside])
        if sum(map(len, kept)) >= count:
            break
    means, colour = torch.cat(kept)[:count], torch.cat(colours)[:count]
    if len(means) < count // 50:  # nothing is inside all masks: they may be wrong, the frames still count
        means = room.centre + room.extent * draw()[:count]
        colour = torch.full_like(means, 0.5)
    # As wide as the mean distance to a neighbour in the volume that they fill.
    spread = (means.amax(0) - means.amin(0)).clamp_min(1e-6)
    size = 0.5 * float((spread.prod() / len(means)) ** (1 / 3))
    return Gaussians(
        means=means,
        log_scales=torch.full_like(means, math.log(size)),
        quaternions=means.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(len(means), 1),
        opacity_logits=means.new_full((len(means),), math.log(0.1 / 0.9)),
        colours=colour,
    )


def _look_up(
    observations: Observations, mask: Tensor | None, views: list[int], points: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean colour [N, 3] over the views at time 0, and whether a point [N, 3] lies in every view's mask [N]."""
    total = torch.zeros_like(points)
    seen = torch.zeros_like(points[:, 0])
    inside = torch.ones_like(seen, dtype=torch.bool)
    for view in views:
        camera = observations.cameras[view]
        local = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        pixel = local @ camera.intrinsics.T
        x, y = (pixel[:, :2] / pixel[:, 2:].clamp_min(NEAR)).floor().long().unbind(1)
        hits = (local[:, 2] > NEAR) & (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
        total[hits] += observations.frames[view, 0, y[hits], x[hits]]
        seen += hits
        if mask is not None:
            covered = torch.zeros_like(inside)
            covered[hits] = mask[view, y[hits], x[hits]] > 0.5
            inside &= covered | ~hits
    return total / seen.clamp_min(1)[:, None], inside & (seen > 0)
