"""Frechet video distance (Unterthiner et al. 2018) along the ways through a grid that SV4D (2024) names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics.base import Comparison, Features, Unavailable
from fourreal.evaluation.metrics.frechet import FrechetDistance
from fourreal.evaluation.metrics.learned import Learned, ask
from fourreal.evaluation.networks import Networks

LEAST_FRAMES = 9
"""Of a video: I3D halves time three times, rounding up, and its last pooling spans two."""

Path = list[tuple[int, int]]
"""(view, time) of each frame of a video through a grid."""


@dataclass(frozen=True)
class Ways:
    """Videos through a grid of V views and T times, and how to say which."""

    of: Callable[[int, int], list[Path]]
    words: str


def along_time(V: int, T: int) -> list[Path]:
    """Every view along time."""
    return [[(v, t) for t in range(T)] for v in range(V)]


def along_views(V: int, T: int) -> list[Path]:
    """Every time along the views."""
    return [[(v, t) for v in range(V)] for t in range(T)]


def along_diagonal(V: int, T: int) -> list[Path]:
    """From the first view and time to the last of both, in max(V, T) steps that round half up."""
    steps = max(V, T)
    place = [i / max(1, steps - 1) for i in range(steps)]
    return [[(int(p * (V - 1) + 0.5), int(p * (T - 1) + 0.5)) for p in place]]


def raster(V: int, T: int) -> list[Path]:
    """All frames as one video that never jumps: view 0 forward in time, view 1 backward, and so on."""
    return [[(v, t) for v in range(V) for t in (range(T) if v % 2 == 0 else range(T - 1, -1, -1))]]


WAYS: Mapping[str, Ways] = {
    "fvd_time": Ways(along_time, "each view along time"),
    "fvd_view": Ways(along_views, "each time along the views"),
    "fvd_diagonal": Ways(along_diagonal, "the grid's diagonal from the first view and time to the last"),
    "fv4d": Ways(raster, "all frames of a grid, views in order, time forward and backward by turns"),
}
"""By the metric's name."""


class FVD(Learned, FrechetDistance):
    """Over videos through the grid: how they look and how they move."""

    needs = frozenset({"grid", "reference_grid"})
    network = "i3d"
    items = "videos"

    def __init__(self, networks: Networks, name: str, *, allow_few: bool = False) -> None:
        super().__init__(networks)
        self.name = name
        self.allow_few = allow_few
        self.ways = WAYS[name]
        self.definition = (
            "Frechet distance between the I3D (Kinetics-400, TorchScript of StyleGAN-V, 400 logits) statistics of "
            f"generated and of true videos ({self.ways.words}; those with a generated frame, given frames in their "
            "places), shorter side resized to 224 (bilinear), middle 224x224 cut out"
        )

    def features(self, sample: Comparison) -> tuple[Features, int]:
        """See `FrechetDistance.features`."""
        grid, reference, generated = sample.grid, sample.reference_grid, sample.generated
        assert grid is not None
        assert reference is not None
        paths = [path for path in self.ways.of(*grid.shape[:2]) if any(generated[place] for place in path)]
        if not paths:
            raise Unavailable("no such video through the grid has a generated frame")
        if len(paths[0]) < LEAST_FRAMES:
            raise Unavailable(
                f"I3D needs videos of at least {LEAST_FRAMES} frames, these have {len(paths[0])}: "
                "make longer grids, or ask for fv4d, whose video is the whole grid"
            )
        frames = len({place for path in paths for place in path if generated[place]})
        return Features(self._of(grid, paths), self._of(reference, paths)), frames

    def _of(self, grid: npt.NDArray[np.uint8], paths: list[Path]) -> npt.NDArray[np.float32]:
        videos = [np.stack([grid[place] for place in path]) for path in paths]
        return ask(lambda: np.stack([self.networks.i3d(video) for video in videos]))
