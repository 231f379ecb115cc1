"""Who a worker is, and what the workers of a stage agree on.

Every function is a collective: all workers call it, or all wait.
Without a process group (one worker, outside Ray) each is the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")
Group = dist.ProcessGroup | None


@dataclass(frozen=True)
class Worker:
    """One of `world` equal workers."""

    rank: int
    world: int


def mean(*values: float) -> tuple[float, ...]:
    """The means of each value over the workers; a NaN of one is a NaN for all."""
    if not _many():
        return values
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return tuple((total / dist.get_world_size()).tolist())


def total(value: float) -> float:
    """The sum of a value over the workers."""
    return mean(value)[0] * (dist.get_world_size() if _many() else 1)


def gather(value: T, group: Group = None) -> list[T]:
    """Every worker's value, in the order of ranks."""
    if not _many():
        return [value]
    found: list[T] = [value] * dist.get_world_size()
    dist.all_gather_object(found, value, group=group)
    return found


def side_group() -> Group:
    """A group of all workers for `gather` in another thread: two threads in one group would answer each other.

    It speaks gloo, so that it never waits for the device, and waits long: an upload may take its time.
    """
    return dist.new_group(backend="gloo", timeout=timedelta(days=1)) if _many() else None


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
