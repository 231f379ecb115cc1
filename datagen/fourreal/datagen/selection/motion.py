"""What moves in a clip: the camera, or something in front of it.

Letters: F frames of a span, P points. Lengths are shares of the frame's smaller side, so that they do not depend on
the resolution; a *step* is one frame of the clip to the next.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.selection.tracks import SPARSE, Span, follow, lengths
from fourreal.datagen.videos.greys import Grey

Array = npt.NDArray[np.float64]

_INLIER_PIXELS = 0.8
"""A point is at rest when it is so near to where the camera's motion takes it."""
_CLEARLY_MORE = 0.05
_FEWEST_POINTS = 12
"""Fewer say nothing of a homography."""
_STUCK_PIXELS = 0.25
_CARRIED_PIXELS = 2.0
_STUCK_AREA = 384
"""Points stand for so many square pixels at least of what is laid over a frame."""
_EDGE = 0.2
_MOST_STUCK = 0.35
_PATCH_PIXELS = 12
_FEWEST_IN_PATCH = 4
_PARALLAX = (0.4, 2.5)
"""A still point may move by so many times what the plane of the scene does in its place.

Wider would take more camera paths for what they are, and more cars that the camera follows for still.
"""


@dataclass(frozen=True)
class _SpanMotion:
    """What one span says."""

    span: Span
    camera: Array
    """`[F-1, 2]`: displacement that the camera gives to the middle of the frame, pixels, each step."""
    camera_speed: Array
    """`[F-1]`: mean length over the frame of the camera's displacement, pixels, each step."""
    speed: Array
    """`[P]`: mean length of a point's step, pixels."""
    residual: Array
    """`[P]`: the same, the camera's motion taken away."""
    carried: Array
    """`[P]`: how far, within the span, the camera takes the place of a point, pixels."""
    inlier: float
    """Share of points that move as the camera makes a plane move."""
    rigid: npt.NDArray[np.bool_]
    """`[P]`: moves as the camera makes something still move, near or far."""


def motion_statistics(grey: Grey, cell: int = SPARSE) -> dict[str, float]:
    """How a clip `[T, H, W]` of small grey frames moves; see `follow` for `cell`.

    `p95_share` is the 95th percentile over points of each point's mean step, as a render's; `camera_share` the mean
    over the frame and all steps of what the camera does to it, by homographies (RANSAC on tracked points);
    `shake_share` the mean distance of the camera's step from the mean of the steps before and after;
    `residual_share` the 95th percentile of a point's mean step once the camera's is taken away.

    Of points: `inlier_share` is the share that one plane explains, `rigid_share` that a still scene with depth
    explains (see `_rigid`), `moving_patch` the largest share in any patch of the frame that it does not explain,
    `stuck_share` that does not move although the frame does there, `tracked_share` that was not lost on the way
    through a span, in the span where that is least; `textured_share` is the share of the frame that has points at
    all. Without points nothing is known to move, and all are 0.
    """
    spans = list(follow(grey, cell))
    motions = [m for m in map(_span_motion, spans) if m is not None]
    started = sum(span.started for span in spans)
    side = min(grey.shape[1:])
    cells = max(1, grey.shape[1] // cell * (grey.shape[2] // cell))
    found = {
        "textured_share": started / cells / max(1, len(spans)),
        "tracked_share": min((span.points.shape[1] / max(1, span.started) for span in spans), default=0.0),
    }
    if not motions:
        names = (
            "p95_share",
            "camera_share",
            "shake_share",
            "residual_share",
            "inlier_share",
            "rigid_share",
            "moving_patch",
            "stuck_share",
        )
        return found | dict.fromkeys(names, 0.0)
    weights = [m.span.points.shape[1] for m in motions]
    return found | {
        "p95_share": _percentile_95(np.concatenate([m.speed for m in motions])) / side,
        "camera_share": float(np.concatenate([m.camera_speed for m in motions]).mean()) / side,
        "shake_share": _shake(np.concatenate([m.camera for m in motions])) / side,
        "residual_share": _percentile_95(np.concatenate([m.residual for m in motions])) / side,
        "inlier_share": float(np.average([m.inlier for m in motions], weights=weights)),
        "rigid_share": float(np.concatenate([m.rigid for m in motions]).mean()),
        "stuck_share": float(np.concatenate([_stuck(m, grey.shape[1:], cell) for m in motions]).mean()),
        # Where nothing is known, something may move.
        "moving_patch": max(_moving_patch(m) for m in motions) if len(motions) == len(spans) else 1.0,
    }


def _span_motion(span: Span) -> _SpanMotion | None:
    """None where too few points were followed to know the camera."""
    points = span.points
    if points.shape[1] < _FEWEST_POINTS:
        return None
    last = len(points) - 1
    fit, over_all = _camera_model(points[0], points[last])
    step_pairs, whole_pairs = list(itertools.pairwise(range(last + 1))), [(0, i) for i in range(1, last + 1)]
    cameras = {(a, b): fit(points[a], points[b]) for a, b in {*step_pairs, *whole_pairs} - {(0, last)}}
    cameras[0, last] = over_all
    known = {pair: camera for pair, camera in cameras.items() if camera is not None}
    if len(known) < len(cameras):
        return None
    steps, whole = (np.stack([known[pair] for pair in pairs]) for pairs in (step_pairs, whole_pairs))
    expected, plane = _apply(steps, points[:-1]), _apply(whole, points[:1])
    apart = lengths(points[1:] - plane)
    middle = points[0].mean(axis=0)[None, None]
    return _SpanMotion(
        span=span,
        camera=(_apply(steps, middle) - middle)[:, 0],
        camera_speed=lengths(expected - points[:-1]).mean(axis=1),
        speed=lengths(points[1:] - points[:-1]).mean(axis=0),
        residual=lengths(points[1:] - expected).mean(axis=0),
        carried=lengths(plane - points[0]).max(axis=0),
        inlier=float((apart < _INLIER_PIXELS).mean()),
        rigid=_rigid(points, plane),
    )


def _rigid(points: Array, plane: Array) -> npt.NDArray[np.bool_]:
    """Which points, of `[F, P, 2]`, a still scene explains, where `plane` `[F-1, P, 2]` is the homography's answer.

    After plane and parallax (Irani and Anandan, "A unified approach to moving object detection in 2D and 3D scenes",
    PAMI 1998): where a camera only travels, a still point at another depth than the plane moves along the plane's own
    displacement there, by a factor that is its own and the same at all times. So each point has one unknown for
    2(F-1) equations. Turning cameras keep to that roughly at most; a thing that moves along with the camera's own
    motion, in proportion, cannot be told from a near or far one and is bounded by `_PARALLAX` only.
    """
    by_plane = plane - points[0]
    moved = points[1:] - points[0]
    factor = (by_plane * moved).sum(axis=(0, 2)) / np.maximum((by_plane**2).sum(axis=(0, 2)), 1e-9)
    factor = np.clip(factor, *_PARALLAX)
    apart = lengths(moved - factor[:, None] * by_plane).max(axis=0)
    apart = np.minimum(apart, lengths(points[1:] - plane).max(axis=0))
    return np.asarray(apart < _INLIER_PIXELS)


def _stuck(motion: _SpanMotion, size: tuple[int, ...], cell: int) -> npt.NDArray[np.bool_]:
    """Which points `[P]` stay where they are in a frame of `size` (H, W) that moves there: those of something laid
    over it. Where many of the points along the frame's edge do, it is no camera that moves, but something large."""
    points = motion.span.points
    still = lengths(points - points[0]).max(axis=0) < _STUCK_PIXELS
    stuck = still & (motion.carried > _CARRIED_PIXELS)
    edge = np.any(np.abs(points[0] / size[::-1] - 0.5) > 0.5 - _EDGE, axis=-1)
    if stuck.sum() * cell**2 < _STUCK_AREA or stuck[edge].mean() > _MOST_STUCK:
        return np.zeros_like(stuck)
    return np.asarray(stuck)


def _moving_patch(motion: _SpanMotion) -> float:
    """The largest share of points in any patch of the frame that a still scene does not explain.

    Points lost to noise and to what comes out from behind something lie about singly, and patches with few of them do
    not count; a thing that moves owns its patch, however small it is in the frame.
    """
    cell = (motion.span.points[0] // _PATCH_PIXELS).astype(int)
    shape = cell.max(axis=0) + 1
    everything, moving = np.zeros(shape), np.zeros(shape)
    np.add.at(everything, tuple(cell.T), 1.0)
    np.add.at(moving, tuple(cell[~motion.rigid].T), 1.0)
    around = [
        cv2.boxFilter(count, -1, (2, 2), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for count in (everything, moving)
    ]
    enough = around[1] >= _FEWEST_IN_PATCH
    return float((around[1][enough] / around[0][enough]).max(initial=0.0))


def _shake(camera: Array) -> float:
    """Of steps `[N, 2]`: mean distance from the mean of their neighbours."""
    if len(camera) < 3:
        return 0.0
    return float(lengths(camera[1:-1] - 0.5 * (camera[2:] + camera[:-2])).mean())


def _percentile_95(values: Array) -> float:
    """Of `[N]`, without interpolation, at which numpy takes ten times as long."""
    place = round(0.95 * (len(values) - 1))
    return float(np.partition(values, place)[place])


def _camera_model(first: Array, last: Array) -> tuple[Callable[[Array, Array], Array | None], Array | None]:
    """The kind of map that a span's camera is fitted by: affine, unless from its `first` to its `last` frame a
    homography explains clearly more of the points: its two further numbers, fitted to points in one corner, mean
    nothing in the others. Beside it, the map from the first to the last.
    """
    affine, by_affine = cv2.estimateAffine2D(first, last, method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PIXELS)
    clearly_more = by_affine.sum() + _CLEARLY_MORE * len(first)
    if clearly_more < len(first):
        matrix, by_matrix = cv2.findHomography(first, last, cv2.RANSAC, _INLIER_PIXELS)
        if by_matrix is not None and by_matrix.sum() > clearly_more:
            return _homography, np.asarray(matrix, np.float64)
    return _affine, _whole(affine)


def _affine(here: Array, there: Array) -> Array | None:
    """The affine map `[3, 3]` that most points `[P, 2]` follow; None where there is none."""
    affine, _ = cv2.estimateAffine2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PIXELS)
    return _whole(affine)


def _whole(affine: Array | None) -> Array | None:
    return None if affine is None else np.vstack([affine, [0.0, 0.0, 1.0]])


def _homography(here: Array, there: Array) -> Array | None:
    """The homography `[3, 3]` that most points `[P, 2]` follow; None where there is none."""
    matrix, _ = cv2.findHomography(here, there, cv2.RANSAC, _INLIER_PIXELS)
    return None if matrix is None else np.asarray(matrix, np.float64)


def _apply(matrices: Array, points: Array) -> Array:
    """Where the homographies `[N, 3, 3]` take points `[N or 1, P, 2]`."""
    mapped = points @ matrices[:, :, :2].swapaxes(1, 2) + matrices[:, None, :, 2]
    return np.asarray(mapped[..., :2] / mapped[..., 2:])
