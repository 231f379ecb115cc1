"""How much of the reference's fine detail is there: a guard against blur, which PSNR rewards."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics.base import Comparison, Need, SampleMetric, Unavailable


class Sharpness(SampleMetric):
    """Gradient energy of the generated frames over that of the true ones: 1 is right, less is blur, more is noise."""

    unit = ""
    higher_is_better = True
    ideal = 1.0

    def __init__(self, *, foreground: bool = False) -> None:
        self.name = "sharpness_foreground" if foreground else "sharpness"
        needs: set[Need] = {"reference", "mask"} if foreground else {"reference"}
        self.needs = frozenset(needs)
        where = "the foreground pixels (reference mask >= 128)" if foreground else "all pixels"
        self.definition = (
            f"sum over frames and {where} of the squared differences of grey to the right and lower neighbour, "
            "generated over reference; 1 is best, less is blur, more is noise"
        )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        assert sample.reference is not None
        H, W = sample.prediction.shape[1:3]
        if min(H, W) < 2:
            raise Unavailable(f"frames of {H}x{W} have no gradient")
        where = sample.foreground if "mask" in self.needs else np.ones(sample.prediction.shape[:3], bool)
        counted = where[:, :-1, :-1]
        if not counted.any():
            raise Unavailable("no generated frame has a foreground pixel")
        true = gradient_energy(sample.reference)[counted].sum()
        if true == 0:
            raise Unavailable("the reference has no detail to compare with")
        return float(gradient_energy(sample.prediction)[counted].sum() / true), int(counted.any(axis=(1, 2)).sum())


def gradient_energy(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Squared differences of grey to the right and to the lower neighbour, uint8 `[N, H, W, 3]` to `[N, H-1, W-1]`."""
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]).astype(np.float64)
    right = grey[:, :-1, 1:] - grey[:, :-1, :-1]
    down = grey[:, 1:, :-1] - grey[:, :-1, :-1]
    return np.asarray(right**2 + down**2)
