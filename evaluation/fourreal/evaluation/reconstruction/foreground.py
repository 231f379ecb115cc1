"""Where no mask is known: what stands before a background that is the same from everywhere.

A direction behind the object in one view is seen free in others, so the median colour of each direction over all frames
is the background's; what differs from it is foreground.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fourreal.evaluation.reconstruction.environment import ray_directions
from fourreal.evaluation.reconstruction.observations import Observations

_ROWS, _COLUMNS = 48, 96
_DIFFERENCE = 0.12
"""Of 0 to 1, in any of R, G, B."""
_MOST_SHARE = 0.6
"""Where more of the frames differs there is no such background, and nothing is told apart."""


def guess_foreground(observations: Observations, views: list[int]) -> Tensor | None:
    """Masks [V, H, W], 0 or 1, of the first time in the given `views` (1 elsewhere); None where all is foreground."""
    cells = {view: _cells(ray_directions(observations.cameras[view])) for view in views}
    frames = observations.frames
    places = torch.cat([cells[view].flatten().repeat(frames.shape[1]) for view in views])
    colours = torch.cat([frames[view].reshape(-1, 3) for view in views])
    order = places.argsort(stable=True)
    colours = colours[order]
    background = frames.new_zeros(_ROWS * _COLUMNS, 3)
    counts = places.bincount(minlength=len(background))
    ends = counts.cumsum(0)
    for place in counts.nonzero()[:, 0].tolist():
        background[place] = colours[ends[place] - counts[place] : ends[place]].median(dim=0).values
    mask = torch.ones_like(frames[:, 0, :, :, 0])
    for view in views:
        differs = (frames[view, 0] - background[cells[view]]).abs().amax(dim=-1) > _DIFFERENCE
        # A pixel that has the background's colour by chance lies among others that have not.
        mask[view] = functional.max_pool2d(differs[None].float(), 3, stride=1, padding=1)[0]
    return mask if mask[views].mean() < _MOST_SHARE else None


def _cells(rays: Tensor) -> Tensor:
    """Number of the cell of azimuth and elevation that each ray [..., 3] points into."""
    across = (torch.atan2(rays[..., 1], rays[..., 0]) / torch.pi * 0.5 + 0.5) * _COLUMNS
    down = (rays[..., 2] * 0.5 + 0.5) * _ROWS
    return down.long().clamp(0, _ROWS - 1) * _COLUMNS + across.long().clamp(0, _COLUMNS - 1)
