"""Learned perceptual image patch similarity (Zhang, Isola, Efros, Shechtman, Wang 2018)."""

from __future__ import annotations

import math

from fourreal.evaluation.metrics.base import Comparison, SampleMetric, Unavailable
from fourreal.evaluation.metrics.learned import Learned, ask

LEAST_SIDE_PX = 31
"""AlexNet's second pooling has nothing to pool below this."""


class LPIPS(Learned, SampleMetric):
    """Mean over frames of each frame's LPIPS."""

    name = "lpips"
    unit = ""
    higher_is_better = False
    needs = frozenset({"reference"})
    network = "lpips"
    definition = "mean over frames of LPIPS v0.1 (AlexNet with its linear layers), RGB in -1..1, frames at their size"

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        assert sample.reference is not None
        height, width = sample.prediction.shape[1:3]
        if min(height, width) < LEAST_SIDE_PX:
            raise Unavailable(f"frames of {height}x{width} are smaller than the {LEAST_SIDE_PX} pixels LPIPS needs")
        reference = sample.reference
        distances = ask(lambda: self.networks.lpips(sample.prediction, reference))
        return math.fsum(distances) / len(distances), len(distances)
