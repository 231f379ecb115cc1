"""What CLIP says of frames: how well they fit the caption, and how alike neighbours are."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics.base import Comparison, SampleMetric, Unavailable
from fourreal.evaluation.metrics.learned import Learned, ask
from fourreal.evaluation.networks import Networks

_MODEL = "openai/clip-vit-large-patch14, shorter side resized (bicubic), middle cut out"


class _OfGrid(Learned, SampleMetric):
    unit = ""
    higher_is_better = True
    network = "clip"

    def directions(self, sample: Comparison) -> npt.NDArray[np.float32]:
        """Of all frames of the grid, `[V, T, D]`; all at once, since the metrics of a grid share them."""
        grid = sample.grid
        assert grid is not None
        flat = grid.reshape(-1, *grid.shape[2:])
        return ask(lambda: self.networks.clip_frames(flat)).reshape(*grid.shape[:2], -1)


class CLIPScore(_OfGrid):
    """Caption against generated frames (Hessel et al. 2021, without their factor 2.5)."""

    name = "clip_score"
    needs = frozenset({"grid", "caption"})
    definition = f"mean over frames of 100 max(0, cos(frame, caption)) in CLIP ({_MODEL})"

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        caption = sample.caption
        assert caption is not None
        if not caption.strip():
            raise Unavailable("the grid has no caption")
        made = self.directions(sample)[sample.generated].astype(np.float64)
        cosines = made @ ask(lambda: self.networks.clip_text(caption))
        return float(100 * np.maximum(cosines, 0).mean()), len(made)


class CLIPConsistency(_OfGrid):
    """Likeness of neighbouring frames along one axis; a still video is perfectly consistent, so look at motion too."""

    needs = frozenset({"grid"})

    def __init__(self, networks: Networks, axis: Literal["time", "view"]) -> None:
        super().__init__(networks)
        self.axis = axis
        self.name = f"clip_consistency_{axis}"
        self.definition = (
            f"mean of 100 cos(frame, next frame along {axis}) in CLIP over neighbours of which one at least was "
            f"generated ({_MODEL})"
        )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        directions, generated = self.directions(sample).astype(np.float64), sample.generated
        if self.axis == "view":
            directions, generated = directions.swapaxes(0, 1), generated.T
        counted = generated[:, 1:] | generated[:, :-1]
        if not counted.any():
            raise Unavailable(f"there are no neighbours along {self.axis} of which one was generated")
        cosines = (directions[:, 1:] * directions[:, :-1]).sum(axis=-1)
        return float(100 * cosines[counted].mean()), int(counted.sum())
