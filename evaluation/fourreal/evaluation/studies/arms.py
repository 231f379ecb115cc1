"""The arms of the study: what is trained to be compared, on what, and at which diffusion times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fourreal.training.model import Architecture


@dataclass(frozen=True)
class Arm:
    """One thing that is trained, with every seed, for as many grids as all the others."""

    architecture: Architecture
    rendered: bool = True
    """Whether it sees rendered assets."""
    pseudo_4d: bool = True
    """Whether it sees synthesized video."""
    regression: bool = False
    """Whether it is trained at diffusion time 1 alone, where the best answer is the mean: it has no sampler, and what
    it reaches in one step is what one step is worth without one."""

    def steps(self, asked: tuple[int, ...]) -> tuple[int, ...]:
        """At how many sampling steps it is judged."""
        return (1,) if self.regression else asked


MAIN = "soft"
"""The arm that the others are held against."""

ARMS: Mapping[str, Arm] = {
    "sequential": Arm("sequential"),
    "hard": Arm("hard"),
    MAIN: Arm("soft"),
    "fused": Arm("fused"),
    "soft-without-rendered": Arm("soft", rendered=False),
    "soft-without-pseudo-4d": Arm("soft", pseudo_4d=False),
    "regression": Arm("soft", regression=True),
}
"""By name: that of folders and tables."""
