"""Do the views of one moment look at one scene? Epipolar geometry of matched points, without learned weights."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.evaluation.metrics.base import Comparison, SampleMetric, Unavailable

LEAST_MATCHES = 10
MOST_DISTANCE_PX = 2.0
"""TSED's thresholds (Yu et al. 2023, section 4)."""
_RATIO = 0.8
"""Lowe's ratio test."""
_ENLARGE_TO_PX = 256
"""Smaller frames are enlarged to this height first: SIFT finds next to nothing in them. Distances are in pixels of
the frame as it is."""
_LEAST_DETERMINANT = 1e-12
_LEAST_STEP = 1e-6
"""Between neighbouring cameras, in parts of their distance from the origin (at least 1 m)."""

Points = npt.NDArray[np.float64]
Keypoints = tuple[Points, npt.NDArray[np.float32]]
"""Points `[N, 2]`, pixels, and their descriptors `[N, 128]`."""


class TSED(SampleMetric):
    """Thresholded symmetric epipolar distance: the share of neighbouring views that agree with their cameras."""

    name = "tsed"
    unit = ""
    higher_is_better = True
    needs = frozenset({"grid", "cameras"})
    definition = (
        f"share of pairs of neighbouring views at one time with at least {LEAST_MATCHES} SIFT matches and a median "
        f"symmetric epipolar distance under {MOST_DISTANCE_PX:g} px to the grid's own cameras (Yu et al. 2023); pairs "
        "of frames with fewer matches count as disagreeing"
    )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`. Unavailable where no pair has enough matches: there is no texture to judge by."""
        assert sample.grid is not None
        assert sample.cameras is not None
        intrinsics, poses = sample.cameras
        check_cameras(intrinsics, poses)
        agree, enough, pairs = 0, 0, 0
        for v, one, other in _neighbours(sample):
            pairs += 1
            if len(one) < LEAST_MATCHES:
                continue
            enough += 1
            matrix = fundamental(intrinsics[v], poses[v], intrinsics[v + 1], poses[v + 1])
            agree += bool(np.median(symmetric_distance(matrix, one, other)) < MOST_DISTANCE_PX)
        _require(enough, pairs)
        return agree / pairs, pairs


class EpipolarInliers(SampleMetric):
    """The share of matches that some epipolar geometry explains; it needs no cameras."""

    name = "epipolar_inliers"
    unit = ""
    higher_is_better = True
    needs = frozenset({"grid"})
    definition = (
        "mean over pairs of neighbouring views at one time of the share of SIFT matches within 1 px of the best "
        f"fundamental matrix (MAGSAC++), over pairs with at least {LEAST_MATCHES} matches"
    )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        assert sample.grid is not None
        shares, pairs = [], 0
        for _, one, other in _neighbours(sample):
            pairs += 1
            if len(one) < LEAST_MATCHES:
                continue
            shares.append(inlier_share(one, other))
        _require(len(shares), pairs)
        return float(np.mean(shares)), len(shares)


def inlier_share(one: Points, other: Points) -> float:
    """The share of matches `[N, 2]` and `[N, 2]`, pixels, that one fundamental matrix explains; 0 where none does."""
    try:
        _, inliers = cv2.findFundamentalMat(one, other, cv2.USAC_MAGSAC, 1.0, 0.999, 10_000)
    except cv2.error:  # an assertion of OpenCV's, where many of a few matches lie in one place
        return 0.0
    return 0.0 if inliers is None else float(inliers.mean())


def check_cameras(intrinsics: npt.NDArray[np.float64], poses: npt.NDArray[np.float64]) -> None:
    """Raise Unavailable for cameras `[V, 3, 3]`, `[V, 4, 4]` of which neighbours have no epipolar geometry."""
    for what, matrices in (("intrinsics", intrinsics), ("poses", poses)):
        if not np.isfinite(matrices).all() or (np.abs(np.linalg.det(matrices)) < _LEAST_DETERMINANT).any():
            raise Unavailable(f"the grid's camera {what} are not finite or cannot be inverted")
    centres = np.linalg.inv(poses)[:, :3, 3]
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    if (still := np.flatnonzero(steps <= _LEAST_STEP * max(1.0, float(np.abs(centres).max())))).size:
        v = int(still[0])
        raise Unavailable(f"the cameras of views {v} and {v + 1} stand in one place: there are no epipolar lines")


def fundamental(
    intrinsics_one: npt.NDArray[np.float64],
    pose_one: npt.NDArray[np.float64],
    intrinsics_other: npt.NDArray[np.float64],
    pose_other: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """F `[3, 3]` with `other^T F one = 0`, from intrinsics `[3, 3]` and world-to-camera `[4, 4]`."""
    relative = pose_other @ np.linalg.inv(pose_one)
    x, y, z = relative[:3, 3]
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    matrix = np.linalg.inv(intrinsics_other).T @ cross @ relative[:3, :3] @ np.linalg.inv(intrinsics_one)
    return np.asarray(matrix)


def symmetric_distance(matrix: npt.NDArray[np.float64], one: Points, other: Points) -> npt.NDArray[np.float64]:
    """Mean of both points' distances to the epipolar line of their partner, pixels, `[N]`; points `[N, 2]`."""
    a, b = (np.concatenate([points, np.ones((len(points), 1))], axis=1) for points in (one, other))
    there, back = a @ matrix.T, b @ matrix
    product = np.abs((b * there).sum(axis=1))
    lengths = np.linalg.norm(there[:, :2], axis=1), np.linalg.norm(back[:, :2], axis=1)
    return np.asarray(0.5 * sum(product / np.maximum(length, 1e-12) for length in lengths))


def match(one: Keypoints, other: Keypoints) -> tuple[Points, Points]:
    """Points of SIFT matches that pass Lowe's ratio test both ways, `[N, 2]` each, pixel centres at +0.5."""
    (points, descriptors), (other_points, other_descriptors) = one, other
    if min(len(points), len(other_points)) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    there = _best(descriptors, other_descriptors)
    back = _best(other_descriptors, descriptors)
    mutual = [(i, j) for i, j in there.items() if back.get(j) == i]
    if not mutual:
        return np.zeros((0, 2)), np.zeros((0, 2))
    left, right = np.array(mutual).T
    return points[left], other_points[right]


@lru_cache(maxsize=1)  # both metrics read a sample's matches, which are most of their time, one after the other
def _neighbours(sample: Comparison) -> list[tuple[int, Points, Points]]:
    """Matches between views v and v + 1 at every time, as (v, points, points)."""
    grid = sample.grid
    assert grid is not None
    V, T = grid.shape[:2]
    if V < 2:
        raise Unavailable("the grid has one view: there is nothing to compare it with")
    found = [[keypoints(grid[v, t]) for v in range(V)] for t in range(T)]
    return [(v, *match(views[v], views[v + 1])) for views in found for v in range(V - 1)]


def _require(enough: int, pairs: int) -> None:
    if not enough:
        raise Unavailable(f"none of {pairs} pairs of views has {LEAST_MATCHES} SIFT matches")


def keypoints(image: npt.NDArray[np.uint8]) -> Keypoints:
    """SIFT's of an RGB image `[H, W, 3]`."""
    scale = max(1.0, _ENLARGE_TO_PX / image.shape[0])
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale > 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    sift = cv2.SIFT_create()  # type: ignore[attr-defined]
    found, descriptors = sift.detectAndCompute(gray, None)
    points = np.array([keypoint.pt for keypoint in found], np.float64).reshape(-1, 2)
    return (points + 0.5) / scale, descriptors if descriptors is not None else np.zeros((0, 128), np.float32)


def _best(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> dict[int, int]:
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(one, other, k=2)
    return {p[0].queryIdx: p[0].trainIdx for p in pairs if len(p) == 2 and p[0].distance < _RATIO * p[1].distance}
