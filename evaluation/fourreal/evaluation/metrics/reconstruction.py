"""Can one moving 3D scene explain the grid? A quick fit to some of its views, judged by the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourreal.evaluation.metrics.base import Comparison, SampleMetric, Unavailable
from fourreal.evaluation.metrics.psnr import PSNR
from fourreal.evaluation.reconstruction import FitSettings, Observations, fit, time_of
from fourreal.evaluation.reconstruction.held_out import held_out
from fourreal.platform.errors import UserError

MOST_HEIGHT_PX = 64
"""Larger frames are halved until they are not higher than this: the time of a fit is bounded."""
STEPS = 200
POINTS = 1000
"""Gaussians to start from; without masks they fill the room, and each costs more than in a fit to an object."""
CHANGE = 12
"""Grey levels. Where every frame shows the same there is nothing to explain, and PSNR over it would drown the rest."""
_HELD_OUT_VIEWS = 2


class Reconstruction(SampleMetric):
    """PSNR of the grid's own frames in views that a fitted 4D scene did not see."""

    name = "reconstruction"
    unit = "dB"
    higher_is_better = True
    needs = frozenset({"grid", "cameras"})
    definition = (
        f"PSNR of the grid's inner {_HELD_OUT_VIEWS} views (one where it has 3) rendered from deformable Gaussian "
        f"splats that were fitted to its other views in {STEPS} steps with the grid's cameras; over pixels that differ "
        f"by more than {CHANGE} grey levels from their median over the grid, mean over frames, frames halved to at "
        f"most {MOST_HEIGHT_PX} px of height; how well one moving scene explains what changes, not how good it looks"
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
        scene = fit(seen, train, FitSettings(steps=STEPS, initial_points=POINTS, most_points=4 * POINTS))
        rendered = [scene.render(seen.cameras[v], time_of(t, T)).colour for v in unseen for t in range(T)]
        if not all(image.isfinite().all() for image in rendered):
            raise Unavailable("the fit diverged")
        made, true = _bytes(torch.stack(rendered)), _bytes(seen.frames[unseen].flatten(0, 1))
        median = np.median(_bytes(seen.frames.flatten(0, 1)), axis=0)
        changed = (np.abs(true - median).max(axis=-1) > CHANGE).astype(np.uint8) * 255
        if not changed.any():
            raise Unavailable("every view and time shows the same")
        return PSNR(foreground=True).measure(Comparison(sample.key, made, true, changed))


def _bytes(images: Tensor) -> npt.NDArray[np.uint8]:
    return np.asarray((255 * images.clamp(0, 1)).round().byte().numpy())
