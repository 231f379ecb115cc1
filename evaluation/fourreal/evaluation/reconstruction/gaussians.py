"""3D Gaussians as tensors, the state of a reconstruction at one time.

Shape legend: N Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Means [N, 3] in world units, log_scales [N, 3], quaternions [N, 4] (w x y z, of any length above zero),
    opacity_logits [N], colours [N, 3] (sRGB, 0 to 1, the same from everywhere)."""

    means: Tensor
    log_scales: Tensor
    quaternions: Tensor
    opacity_logits: Tensor
    colours: Tensor

    def __len__(self) -> int:
        return self.means.shape[0]

    def __getitem__(self, index: Tensor) -> Self:
        """A selection, by indices or by a mask [N]."""
        return replace(self, **{name: tensor[index] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def concatenate(first: Gaussians, second: Gaussians) -> Gaussians:
    """Both sets as one."""
    others = second.tensors()
    return Gaussians(**{name: torch.cat([tensor, others[name]]) for name, tensor in first.tensors().items()})


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """Quaternions [N, 4] (w x y z) as rotation matrices [N, 3, 3]."""
    w, x, y, z = functional.normalize(quaternions, dim=1).unbind(dim=1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    return torch.stack(rows, dim=1)
