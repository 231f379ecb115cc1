"""Do the views of one moment show one scene, in the eyes of networks that see two of them: DUSt3R and MEt3R."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics.base import Comparison, SampleMetric, Unavailable
from fourreal.evaluation.metrics.learned import Learned, ask
from fourreal.evaluation.networks import Networks

THRESHOLDS = (2.0, 2.5, 3.0)
"""Of DUSt3R's confidence, as in 4Real-Video's table."""

_PAIRS = "neighbouring views at one time, of which one at least was generated"


class DUSt3RConfidence(Learned, SampleMetric):
    """The share of pixels of which DUSt3R is sure, given two views of one moment (4Real-Video, section 5)."""

    unit = "%"
    higher_is_better = True
    needs = frozenset({"grid"})
    network = "dust3r"

    def __init__(self, networks: Networks, threshold: float) -> None:
        super().__init__(networks)
        self.index = THRESHOLDS.index(threshold)
        self.name = f"dust3r_confidence_{threshold:g}".replace(".", "_")
        self.definition = (
            f"mean over pairs of {_PAIRS}, of the share of both frames' pixels whose DUSt3R confidence is above "
            f"{threshold:g}, in percent (naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt, longer side 512)"
        )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        pairs = neighbours(sample)
        shares = ask(lambda: [self.networks.dust3r(one, other, THRESHOLDS)[self.index] for one, other in pairs])
        return 100 * float(np.mean(shares, dtype=np.float64)), len(pairs)


class MEt3RScore(Learned, SampleMetric):
    """How unlike two views' features are where both see one surface (Asim et al. 2025): 0 is consistent."""

    name = "met3r"
    unit = ""
    higher_is_better = False
    needs = frozenset({"grid"})
    network = "met3r"
    definition = f"mean over pairs of {_PAIRS}, of MEt3R (its package's defaults, middle 256x256)"

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        pairs = neighbours(sample)
        scores = ask(lambda: [self.networks.met3r(one, other)[0] for one, other in pairs])
        return float(np.mean(scores, dtype=np.float64)), len(pairs)


def neighbours(sample: Comparison) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    """Frames of views v and v + 1 at each time, one of them generated at least. Unavailable where there are none."""
    grid, generated = sample.grid, sample.generated
    assert grid is not None
    V, T = grid.shape[:2]
    places = [(v, t) for t in range(T) for v in range(V - 1) if generated[v, t] or generated[v + 1, t]]
    if not places:
        raise Unavailable("there are no neighbouring views of which one was generated")
    return [(grid[v, t], grid[v + 1, t]) for v, t in places]
