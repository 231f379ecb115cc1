"""Change along time without a reference: flicker, what motion does not explain, and how much motion there is."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics.base import Comparison, SampleMetric, Unavailable

LEAST_SIDE_PX = 24
"""Dense inverse search needs a pyramid; below this the flow is noise."""
_STRONGEST = 0.05

Gray = npt.NDArray[np.uint8]
Flow = npt.NDArray[np.float32]


class Flicker(SampleMetric):
    """How far frames lie from the middle between their neighbours in time: steady motion has little, flicker much."""

    name = "flicker"
    unit = "grey levels"
    higher_is_better = False
    needs = frozenset({"grid"})
    definition = "mean |x[v, t-1] - 2 x[v, t] + x[v, t+1]| / 2 over all views, inner times, pixels and R, G, B"

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        assert sample.grid is not None
        V, T = sample.grid.shape[:2]
        if T < 3:
            raise Unavailable(f"flicker needs 3 times, the grid has {T}")
        frames = sample.grid.astype(np.int16)
        bend = frames[:, :-2] - 2 * frames[:, 1:-1] + frames[:, 2:]
        return float(np.abs(bend).mean() / 2), V * (T - 2)


class WarpingError(SampleMetric):
    """What is left of the change from one time to the next after it was moved along the optical flow."""

    name = "warping_error"
    unit = ""
    higher_is_better = False
    needs = frozenset({"grid"})
    definition = (
        "mean over views and times of mean ||x[v, t] - warp(x[v, t+1])||^2 / 3 in 0..1 over pixels seen in both "
        "(Lai et al. 2018, equation 8, occlusions by their forward-backward check; optical flow: DIS, medium preset)"
    )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`. Pairs of frames without a pixel seen in both do not count."""
        assert sample.grid is not None
        errors = []
        for video in sample.grid:
            gray = _gray(video)
            for t in range(len(video) - 1):
                there, back = flow(gray[t], gray[t + 1]), flow(gray[t + 1], gray[t])
                error = _warping_error(video[t], video[t + 1], there, back)
                if error is not None:
                    errors.append(error)
        if not errors:
            raise Unavailable("no two neighbouring times show the same surface")
        return float(np.mean(errors)), len(errors)


class DynamicDegree(SampleMetric):
    """How much moves: a model that stands still scores well on everything else."""

    name = "dynamic_degree"
    unit = "% of height"
    higher_is_better = True
    needs = frozenset({"grid"})
    definition = (
        "mean over views and times of the mean length of the 5 % longest flow vectors from one time to the next, "
        "in percent of the frame's height (VBench's dynamic degree before its threshold; flow: DIS, medium preset)"
    )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        assert sample.grid is not None
        lengths = []
        for video in sample.grid:
            gray = _gray(video)
            for t in range(len(video) - 1):
                length = np.linalg.norm(flow(gray[t], gray[t + 1]), axis=-1).ravel()
                most = max(1, round(_STRONGEST * len(length)))
                lengths.append(float(np.partition(length, -most)[-most:].mean()))
        if not lengths:
            raise Unavailable("the grid has one time: nothing moves")
        return 100 * float(np.mean(lengths)) / sample.grid.shape[2], len(lengths)


def flow(one: Gray, other: Gray) -> Flow:
    """Optical flow from `one` to `other`, uint8 `[H, W]` to float32 `[H, W, 2]`, pixels (x, y).

    Raises Unavailable for frames too small to find any in.
    """
    if min(one.shape) < LEAST_SIDE_PX:
        raise Unavailable(f"frames of {one.shape[0]}x{one.shape[1]} are too small for optical flow")
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    return np.asarray(search.calc(one, other, None), np.float32)


def warp(image: npt.NDArray[np.float32], along: Flow) -> npt.NDArray[np.float32]:
    """`image[p + along[p]]` at every pixel p, between pixels linearly."""
    H, W = along.shape[:2]
    x, y = np.meshgrid(np.arange(W, dtype=np.float32), np.arange(H, dtype=np.float32))
    moved = cv2.remap(image, x + along[..., 0], y + along[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _warping_error(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], there: Flow, back: Flow) -> float | None:
    H, W = there.shape[:2]
    x, y = np.meshgrid(np.arange(W), np.arange(H))
    inside = (
        (x + there[..., 0] >= 0)
        & (x + there[..., 0] <= W - 1)
        & (y + there[..., 1] >= 0)
        & (y + there[..., 1] <= H - 1)
    )
    returned = warp(back, there)
    gap = ((there + returned) ** 2).sum(axis=-1)
    seen = inside & (gap <= 0.01 * ((there**2).sum(axis=-1) + (returned**2).sum(axis=-1)) + 0.5)
    if not seen.any():
        return None
    difference = (one.astype(np.float32) - warp(other.astype(np.float32), there)) / 255
    return float((difference**2).mean(axis=-1)[seen].mean())


def _gray(video: npt.NDArray[np.uint8]) -> list[Gray]:
    return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video]
