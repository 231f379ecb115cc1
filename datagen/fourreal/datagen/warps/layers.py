"""Flat layers at different depths: what is in front, by how much, and what is painted behind it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.warps.paths import LARGEST_DEPTH_RATIO
from fourreal.datagen.warps.resampling import Image

_EDGE_SIGMA = 0.7
"""Softness of a layer's edge, pixels."""
_MOST_LAYERS = 3
_LEAST_RATIO = 1.1
"""Layers closer than this are one."""
_LEAST_SHARE = 0.005
"""A layer smaller than this share of the clip is none."""


class FlatSceneError(ValueError):
    """Nothing is in front of anything."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Layers of a clip, farthest first. The first fills the picture, further ones lie on those before them."""

    inverse_depths: tuple[float, ...]
    """L of them, rising; the camera's pivot is at 1."""
    coverage: Image
    """`[L - 1, T, h, w]`, 0 to 1: where the picture shows this layer or one nearer still."""

    def softened(self, size: tuple[int, int]) -> Layers:
        """The same in pictures of (width, height) pixels, with soft edges."""
        scaled = [[_softened(cv2.resize(c, size, interpolation=cv2.INTER_AREA)) for c in of] for of in self.coverage]
        return replace(self, coverage=np.array(scaled, np.float32))


def layers_from_mask(mask: npt.NDArray[np.uint8], depth_ratio: float) -> Layers:
    """Foreground and background of `[T, h, w]`, the background `depth_ratio` times as far.

    Raises FlatSceneError when the mask is empty or full.
    """
    share = float((mask >= 128).mean())
    if not _LEAST_SHARE < share < 1.0 - _LEAST_SHARE:
        message = f"the mask covers {100 * share:.1f} % of the clip: there is no foreground before a background"
        raise FlatSceneError(message)
    near = np.sqrt(depth_ratio)
    return Layers((1 / near, near), (mask.astype(np.float32) / 255.0)[None])


def layers_from_depth(depth: npt.NDArray[np.float32]) -> Layers:
    """Two or three layers of distances `[T, h, w]` (any unit, infinite where there is nothing), by k-means.

    What parallax shows is inverse depth, so that is what is divided. It is cut off at 2.5 times the nearest distance.
    Raises FlatSceneError when the scene is flat, and ValueError when a distance is not positive.
    """
    if not np.all(depth > 0.0):  # also NaN
        raise ValueError("the depth has values that are not positive numbers")
    nearness = 1.0 / depth.astype(np.float32)
    nearest = float(np.percentile(nearness, 98.0))
    nearness = np.clip(nearness, nearest / LARGEST_DEPTH_RATIO, nearest)
    centres = _separate(nearness)
    if len(centres) < 2:
        raise FlatSceneError("the depth is flat: there is nothing before a background")
    between = [0.5 * (a + b) for a, b in itertools.pairwise(centres)]
    pivot = float(np.sqrt(centres[0] * centres[-1]))
    coverage = np.stack([(nearness > edge).astype(np.float32) for edge in between])
    return Layers(tuple(c / pivot for c in centres), coverage)


def paint_layers(image: Image, coverage: Image) -> list[Image]:
    """The layers of one picture `[h, w, 3]`, farthest first: RGB, then RGB times coverage and coverage `[h, w, 4]`.

    `coverage` is `[L - 1, h, w]`.
    What a nearer layer hides is filled in from around it; edges take their colour from inside their own layer, so
    that they have no rim of another.
    """
    painted = []
    for layer in range(len(coverage) + 1):
        own = coverage[layer - 1] > 0.97 if layer else np.ones(image.shape[:2], bool)
        if layer < len(coverage):
            own &= _grown(coverage[layer]) < 0.05
        colour = fill(image, own)
        if layer:
            alpha = coverage[layer - 1][..., None]
            colour = np.concatenate([colour * alpha, alpha], axis=-1)
        painted.append(colour)
    return painted


def composite(layers: Sequence[Image]) -> tuple[Image, Image]:
    """Lay sampled layers over each other: a picture `[H, W, 3]`, and how much of it `[H, W]` is not the first."""
    picture, open_share = layers[0], np.ones(layers[0].shape[:2], np.float32)
    for layer in layers[1:]:
        sampled = layer[..., 3:]
        alpha = np.clip(sampled, 0.0, 1.0)  # the kernel overshoots at edges; the colour is taken back with it
        picture = picture * (1.0 - alpha) + layer[..., :3] * (alpha / np.maximum(sampled, 1e-3))
        open_share = open_share * (1.0 - alpha[..., 0])
    return picture, 1.0 - open_share


def fill(image: Image, known: npt.NDArray[np.bool_]) -> Image:
    """Fill the rest of `[h, w, 3]` smoothly from what is known, by pull and push over a pyramid.

    (Gortler et al., The Lumigraph, 1996, section 3.4.) Linear in the picture, so as steady over time as that is,
    where a patch search flickers; without detail, but only a rim of it is ever uncovered.
    """
    if known.all() or not known.any():
        return image
    weights = known.astype(np.float32)[..., None]
    filled = _pull_push(np.concatenate([image * weights, weights], axis=-1))
    return np.where(known[..., None], image, filled[..., :3])


def _pull_push(weighted: Image) -> Image:
    """Colours times weights, and weights `[h, w, 4]`, into colours without gaps (and a weight of 1)."""
    h, w = weighted.shape[:2]
    weights = weighted[..., 3:]
    if min(h, w) == 1 or weights.min() >= 1.0:
        return np.asarray(weighted / np.maximum(weights, 1e-6))
    coarse = cv2.pyrDown(weighted) * 4.0
    coarse /= np.maximum(coarse[..., 3:], 1.0)
    below = cv2.pyrUp(_pull_push(coarse), dstsize=(w, h))
    return np.asarray(weighted + below * (1.0 - weights))


def _separate(values: Image) -> list[float]:
    """Centres of at most three groups, rising, far enough apart and large enough: Lloyd's algorithm on a histogram."""
    counts, edges = np.histogram(values, 256)
    bins = 0.5 * (edges[1:] + edges[:-1])
    for groups in range(_MOST_LAYERS, 1, -1):
        centres = np.linspace(bins[0], bins[-1], 2 * groups + 1)[1::2]
        for _ in range(50):
            nearest = np.abs(bins[:, None] - centres).argmin(axis=1)
            total = np.bincount(nearest, counts, groups)
            if total.min() < _LEAST_SHARE * total.sum():
                break
            centres = np.bincount(nearest, counts * bins, groups) / total
        else:
            if np.all(centres[1:] > _LEAST_RATIO * centres[:-1]):
                return [float(c) for c in centres]
    return []


def _softened(coverage: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(coverage, (0, 0), _EDGE_SIGMA, borderType=cv2.BORDER_REPLICATE))


def _grown(coverage: Image) -> Image:
    """Coverage with a rim of two pixels: colours there are mixed by the lens and the codec."""
    return np.asarray(cv2.dilate(coverage, np.ones((5, 5), np.uint8)))
