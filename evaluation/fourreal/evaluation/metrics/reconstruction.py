"""Can one moving 3D scene explain the grid? A fit to some of its views, judged by the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourreal.evaluation.metrics.base import Comparison, SampleMetric, Unavailable
from fourreal.evaluation.reconstruction import FitSettings, Observations, fit, time_of
from fourreal.evaluation.reconstruction.held_out import held_out
from fourreal.evaluation.threads import one_thread
from fourreal.platform.errors import UserError

MOST_HEIGHT_PX = 64
"""Larger frames are halved until they are not higher than this: the time of a fit is bounded."""
STEPS = 400
POINTS = 1000
"""Gaussians to start from; without masks they fill the room, and each costs more than in a fit to an object."""
CHANGE = 12
"""Grey levels. Where every frame shows the same there is nothing to explain."""
_HELD_OUT_VIEWS = 2


class Reconstruction(SampleMetric):
    """The share of what changes in a grid that a fitted 4D scene explains in views that it did not see."""

    name = "reconstruction"
    unit = ""
    higher_is_better = True
    needs = frozenset({"grid", "cameras"})
    definition = (
        f"deformable Gaussian splats are fitted with the grid's cameras in {STEPS} steps to all but its inner "
        f"{_HELD_OUT_VIEWS} views (one where it has 3), frames halved to at most {MOST_HEIGHT_PX} px of height, and "
        "rendered in those: 1 - (squared error of the renderings) / (squared deviation of the frames from their median "
        f"over the grid), both summed over pixels that deviate by more than {CHANGE} grey levels; 1 is a grid that one "
        "scene explains, 0 one that a still picture explains as well"
    )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`. Some ten seconds of one core for 8x8 frames of 96x160."""
        assert sample.grid is not None
        assert sample.cameras is not None
        V, T = sample.grid.shape[:2]
        if V < 3:
            raise Unavailable(f"a view is held out between two others, and the grid has {V}")
        try:
            seen = Observations.of_arrays("the grid", sample.grid, None, *sample.cameras)
        except UserError as error:
            raise Unavailable(str(error)) from None
        while seen.frames.shape[2] > MOST_HEIGHT_PX:
            seen = seen.halved()
        unseen = held_out(V, min(_HELD_OUT_VIEWS, V - 2))
        train = torch.ones(V, T, dtype=torch.bool)
        train[unseen] = False
        with one_thread("cpu"):
            scene = fit(seen, train, FitSettings(steps=STEPS, initial_points=POINTS, most_points=4 * POINTS))
            rendered = [scene.render(seen.cameras[v], time_of(t, T)).colour for v in unseen for t in range(T)]
        if not all(image.isfinite().all() for image in rendered):
            raise Unavailable("the fit diverged")
        made, true = _bytes(torch.stack(rendered)), _bytes(seen.frames[unseen].flatten(0, 1))
        deviation = true - np.median(_bytes(seen.frames.flatten(0, 1)), axis=0)
        changed = np.abs(deviation).max(axis=-1) > CHANGE
        if not changed.any():
            raise Unavailable("every view and time shows the same")
        missed = made.astype(np.float64) - true
        return 1 - float(np.square(missed[changed]).sum() / np.square(deviation[changed]).sum()), len(made)


def _bytes(images: Tensor) -> npt.NDArray[np.uint8]:
    return np.asarray((255 * images.clamp(0, 1)).round().byte().numpy())
