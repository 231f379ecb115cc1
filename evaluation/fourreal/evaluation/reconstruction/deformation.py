"""How canonical Gaussians move: a HexPlane over space and time and a small network, zero at the start.

Source: HexPlane (Cao and Johnson, CVPR 2023, section 3); its use on Gaussians: 4D-GS (Wu et al., CVPR 2024, section 4).

Shape legend: N points, C features of a plane.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourreal.evaluation.reconstruction.gaussians import Gaussians

_SPACE_TIME = 4
_AXES = tuple(itertools.combinations(range(_SPACE_TIME), 2))
"""Planes xy, xz, xt, yz, yt, zt."""
_OUTPUTS = 3 + 4 + 3


class Deformation(nn.Module):
    """Offsets of means, quaternions and log scales at a time.

    `centre` [3] and `extent` (world units): the box of half size `extent` that the planes cover; outside, the value
    of the box's face holds. `times`: the length of the time axis, which has a plane's cell for each.
    """

    centre: Tensor

    def __init__(
        self, centre: Tensor, extent: float, times: int, *, resolutions: tuple[int, ...] = (24, 48), features: int = 8
    ) -> None:
        super().__init__()
        self.register_buffer("centre", centre.clone())
        self.extent = extent
        self.planes = nn.ParameterList()
        for resolution in resolutions:
            sizes = (resolution, resolution, resolution, max(2, times))
            for first, second in _AXES:
                plane = torch.empty(1, features, sizes[second], sizes[first])
                # Products of planes are what the network reads: time planes at one leave space to the space planes.
                self.planes.append(
                    nn.init.ones_(plane) if second == _SPACE_TIME - 1 else nn.init.uniform_(plane, 0.1, 0.5)
                )
        width = features * len(resolutions)
        offsets = nn.Linear(64, _OUTPUTS)
        nn.init.zeros_(offsets.weight)
        nn.init.zeros_(offsets.bias)
        self.network = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), offsets)

    def forward(self, gaussians: Gaussians, time: float) -> Gaussians:
        """The Gaussians at `time`, 0 for the first and 1 for the last of the grid."""
        offsets = self.network(self._features(gaussians.means, time))
        move, turn, stretch = offsets.split([3, 4, 3], dim=1)
        return replace(
            gaussians,
            means=gaussians.means + self.extent * move,
            quaternions=functional.normalize(gaussians.quaternions, dim=1) + turn,
            log_scales=gaussians.log_scales + stretch,
        )

    def _features(self, points: Tensor, time: float) -> Tensor:
        """[N, 3] to [N, features]: the product over planes at each resolution, all resolutions side by side."""
        # Where a point is decides how it moves; how it moves must not pull the canonical shape about.
        space = ((points.detach() - self.centre) / self.extent).clamp(-1, 1)
        place = torch.cat([space, torch.full_like(space[:, :1], 2 * time - 1)], dim=1)
        found = []
        for level in range(len(self.planes) // len(_AXES)):
            product: Tensor | None = None
            for number, axes in enumerate(_AXES):
                plane = self.planes[level * len(_AXES) + number]
                at = place[:, list(axes)][None, :, None]
                value = functional.grid_sample(plane, at, align_corners=True, padding_mode="border")[0, :, :, 0]
                product = value if product is None else product * value
            assert product is not None
            found.append(product)
        return torch.cat(found).T

    def roughness(self) -> Tensor:
        """Mean squared second difference of the time planes along time: 0 for motion at constant speed."""
        rough = [
            (plane[:, :, 2:] - 2 * plane[:, :, 1:-1] + plane[:, :, :-2]).square().mean()
            for plane, (_, second) in zip(self.planes, itertools.cycle(_AXES))
            if second == _SPACE_TIME - 1 and plane.shape[2] > 2
        ]
        return torch.stack(rough).mean() if rough else self.planes[0].new_zeros(())
