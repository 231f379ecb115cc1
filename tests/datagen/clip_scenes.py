"""Clips of which it is known what moves: layers of a still scene before a travelling camera, and movers among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.videos.bars import bright_box
from fourreal.datagen.videos.greys import Grey, Greys, Halved, size_within, spread

Clip = npt.NDArray[np.uint8]

T, H, W = 8, 144, 256


@dataclass(frozen=True)
class Thing:
    """A textured blob: at rest it moves `nearness` times as the background does."""

    centre: tuple[float, float]
    radius: float
    nearness: float = 1.0
    velocity: tuple[float, float] = (0.0, 0.0)
    """Of its own, pixels a frame (x, y)."""
    swing: float = 0.0
    """Of its own, pixels up and down."""


@cache
def texture(seed: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """Dead leaves, discs of all sizes over one another, which have a photograph's statistics; `[height, width, 3]`."""
    rng = np.random.default_rng(seed)
    tint = rng.uniform(60, 190)
    picture = np.full((height, width, 3), tint, np.float32)
    for _ in range(height * width // 60):
        radius = int(min(2.0 * rng.random() ** -0.7, 40))
        colour = np.clip(tint + rng.normal(0, 45) + rng.normal(0, 15, 3), 5, 250)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(picture, centre, radius, colour.tolist(), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), 0.7)


def scene(
    *,
    pan: tuple[float, float] = (0.0, 0.0),
    zoom: float = 0.0,
    turn: float = 0.0,
    shake: float = 0.0,
    things: Sequence[Thing] = (),
    noise: float = 2.0,
    seed: int = 0,
    times: int = T,
) -> Clip:
    """`[T, H, W, 3]`: the camera moves by `pan` pixels a frame, zooms by `zoom` (log) and turns by `turn` radians."""
    rng = np.random.default_rng(seed + 1000)
    background = texture(seed, 3 * H, 3 * W)
    surfaces = [texture(seed + 1 + i, H, W) for i in range(len(things))]
    frames = []
    for t in range(times):
        jolt = rng.normal(0.0, shake, 2) if shake else np.zeros(2)
        picture = _sample(background, _view(t, pan, zoom, turn, jolt, (1.5 * W, 1.5 * H), 1.0))
        for thing, surface in zip(things, surfaces, strict=True):
            own = np.array(thing.velocity) * t + [0.0, thing.swing * np.sin(1.3 * t)]
            view = _view(t, pan, zoom, turn, jolt, (0.5 * W, 0.5 * H), thing.nearness)
            # The blob in its own layer, whose middle is the frame's middle at rest.
            place = np.array(thing.centre) + own
            layer = np.zeros((H, W, 4), np.float32)
            layer[..., :3] = _sample(surface, np.array([[1, 0, -own[0]], [0, 1, -own[1]]], np.float64))
            y, x = np.mgrid[0:H, 0:W]
            distance = np.hypot(x - place[0], y - place[1])
            layer[..., 3] = np.clip(thing.radius - distance, 0.0, 1.0)
            seen = cv2.warpAffine(layer, view, (W, H), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            picture = picture + seen[..., 3:] * (seen[..., :3] - picture)
        picture = picture + rng.normal(0.0, noise, picture.shape)
        frames.append(np.clip(np.round(picture), 0, 255).astype(np.uint8))
    return np.stack(frames)


def grey_of(clip: Clip) -> Clip:
    """`[T, h, w]` of `[T, h, w, 3]`."""
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip])


def shrunk(frames: Grey, longer_side: int) -> Grey:
    """Frames `[T, h, w]` as `[T, H, W]`, shrunk until neither side is longer than `longer_side`."""
    size = size_within(frames.shape[2], frames.shape[1], longer_side)
    return frames if size == frames.shape[:0:-1] else np.stack([Halved(frame).shrunk(*size) for frame in frames])


def greys_of(frames: Grey) -> Greys:
    """Those of frames `[T, h, w]` that are there already."""
    return lambda longer_side, count: shrunk(frames[spread(count, len(frames))], longer_side)


def crop_bars(clip: Clip) -> Clip:
    """A clip `[T, h, w, 3]` without its letterbox."""
    greys = grey_of(clip)
    brightest = greys.max(axis=0)
    width, height = brightest.shape[::-1]
    box = bright_box(lambda part: greys[0][part], lambda part: brightest[part], width, height)
    # The first frame only saves looking at the others.
    assert box == bright_box(lambda part: brightest[part], lambda part: brightest[part], width, height)
    left, top, right, bottom = box
    return clip[:, top:bottom, left:right]


def _view(
    t: int,
    pan: tuple[float, float],
    zoom: float,
    turn: float,
    jolt: npt.NDArray[np.float64],
    middle: tuple[float, float],
    nearness: float,
) -> npt.NDArray[np.float64]:
    """Pixels of the frame to pixels of a layer, `[2, 3]`."""
    scale, angle = np.exp(-zoom * nearness * t), turn * t
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[c, -s], [s, c]])
    centre = np.array(middle) + nearness * np.array(pan) * t + jolt
    return np.c_[linear, centre - linear @ [0.5 * W, 0.5 * H]]


def _sample(picture: npt.NDArray[np.float32], view: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, view, (W, H), flags=flags, borderMode=cv2.BORDER_REFLECT))
