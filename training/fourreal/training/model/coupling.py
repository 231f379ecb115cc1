"""How strongly the two streams of a grid model are synchronized, layer by layer.

4Real-Video reports that coupling grows with depth; this is a way to look at it.
"""

from __future__ import annotations

import math

import torch

from fourreal.training.model.architectures.sync import HardSync, SoftSync
from fourreal.training.model.grid_model import GridModel


@torch.no_grad()
def synchronization_strength(model: GridModel) -> tuple[float, ...]:
    """One number a layer, 0 at initialisation; empty for architectures that add no synchronization.

    The root mean square of the singular values, so that widths compare: of the exchange map in `soft`; of what the
    maps W^v and W^t differ from I / 2 by, both together, in `hard`.
    """
    syncs = getattr(model.view_time, "syncs", None)
    return tuple(_strength(sync) for sync in syncs) if syncs is not None else ()


def _strength(sync: SoftSync | HardSync) -> float:
    if isinstance(sync, SoftSync):
        maps = [sync.exchange.weight]
    else:
        half = torch.eye(sync.view.in_features, device=sync.view.weight.device) / 2
        maps = [sync.view.weight - half, sync.time.weight - half]
    squares = sum(float(weight.float().square().sum()) for weight in maps)
    return math.sqrt(squares / sum(len(weight) for weight in maps))
