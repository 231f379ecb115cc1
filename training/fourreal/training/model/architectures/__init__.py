"""View-time architectures by name."""

from __future__ import annotations

from typing import Literal, get_args

from fourreal.training.model.architectures.base import ViewTime
from fourreal.training.model.architectures.fused import Fused
from fourreal.training.model.architectures.sequential import Sequential
from fourreal.training.model.architectures.sync import HardSync, SoftSync
from fourreal.training.model.architectures.two_streams import TwoStreams
from fourreal.training.model.backbones.base import Backbone

Architecture = Literal["sequential", "hard", "soft", "fused"]


def make_architecture(name: str, backbone: Backbone) -> ViewTime:
    """The architecture of that name at its initialisation. ValueError for an unknown name."""
    if name == "sequential":
        return Sequential()
    if name == "hard":
        return TwoStreams(backbone, HardSync)
    if name == "soft":
        return TwoStreams(backbone, SoftSync)
    if name == "fused":
        return Fused()
    raise ValueError(f"architecture {name!r} is unknown; choose one of {', '.join(get_args(Architecture))}")
