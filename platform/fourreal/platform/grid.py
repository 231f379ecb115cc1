"""The one kind of thing on every arrow: a view-time grid of frames with all that is known about it.

Axes are *view* and *time* (METHOD: a fixed-view video is one view over all times, a freeze-time video is one
time over all views). Letters in shapes: V views, T times, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 1

_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_KEY_LENGTH = 200


def check_key(key: str) -> str:
    """Return `key` if it can name a grid: 1 to 200 of `A-Z a-z 0-9 _ -`, so it can never leave a folder.

    Raises ValueError otherwise.
    """
    if not 0 < len(key) <= _KEY_LENGTH or not _KEY_CHARACTERS.issuperset(key):
        raise ValueError(f"grid key {key!r} must be 1 to {_KEY_LENGTH} characters of A-Z, a-z, 0-9, '_' and '-'")
    return key


def make_key(text: str) -> str:
    """Turn any text (a file's stem, say) into characters that a grid key may have."""
    cleaned = "".join(c if c in _KEY_CHARACTERS else "-" for c in text).strip("-")
    return cleaned[:_KEY_LENGTH] or "unnamed"


GridKind = Literal["dynamic", "freeze_time"]
"""`freeze_time`: nothing moves but the camera, and all times show the same."""


@dataclass(frozen=True)
class GridMeta:
    """What is known about a grid besides its pixels; all of it JSON."""

    key: str
    source_uri: str = ""
    source_sha256: str = ""
    licence: str = ""
    caption: str = ""
    fps: float = 0.0
    """Frames per second along the time axis; 0 when unknown."""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the job that decide the pixels."""
    motion: Mapping[str, float] = field(default_factory=dict)
    """Motion statistics, named with their units."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What the grid was made from or by: job, clip, model, weights hash."""
    kind: GridKind = "dynamic"

    def __post_init__(self) -> None:
        check_key(self.key)
        if self.kind not in get_args(GridKind):
            raise ValueError(f"kind of grid {self.key!r} must be one of {get_args(GridKind)}, not {self.kind!r}")
        if not self.fps >= 0.0:
            raise ValueError(f"fps of grid {self.key!r} must be 0 (unknown) or positive, not {self.fps}")


@dataclass(frozen=True, eq=False)
class Grid:
    """A view-time grid of frames.

    Shapes and units:
        frames: uint8 `[V, T, H, W, 3]`, RGB.
        mask: uint8 `[V, T, H, W]`, coverage of the foreground, 0 to 255.
        depth: float32 `[V, T, H, W]`, planar z in metres, `inf` where nothing is hit.
        normals: float32 `[V, T, H, W, 3]`, of length 1, in the world's axes (as the cameras' world is), on the side
            that is seen; NaN where there is no surface. The codec keeps the direction to 0.06 degrees.
        flow: float32 `[V, T, H, W, 2]`, pixels (x, y) that a surface point moves by from time t to t + 1 in
            the same view; NaN where unknown, as for all of the last time.
        intrinsics: float64 `[V, 3, 3]` and world_to_camera: float64 `[V, 4, 4]`, OpenCV axes, always together.
        homographies: float64 `[V, T, 3, 3]`, from pixels of view 0 to pixels of view v at time t.

    Raises ValueError when a shape or dtype does not fit.
    """

    frames: npt.NDArray[np.uint8]
    meta: GridMeta
    mask: npt.NDArray[np.uint8] | None = None
    depth: npt.NDArray[np.float32] | None = None
    normals: npt.NDArray[np.float32] | None = None
    flow: npt.NDArray[np.float32] | None = None
    intrinsics: npt.NDArray[np.float64] | None = None
    world_to_camera: npt.NDArray[np.float64] | None = None
    homographies: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.frames.ndim != 5 or self.frames.shape[-1] != 3 or 0 in self.frames.shape:
            raise ValueError(f"frames must be [V, T, H, W, 3] without an empty axis, not {self.frames.shape}")
        V, T, H, W, _ = self.frames.shape
        _check("frames", self.frames, self.frames.shape, np.uint8)
        _check("mask", self.mask, (V, T, H, W), np.uint8)
        _check("depth", self.depth, (V, T, H, W), np.float32)
        _check("normals", self.normals, (V, T, H, W, 3), np.float32)
        _check("flow", self.flow, (V, T, H, W, 2), np.float32)
        _check("intrinsics", self.intrinsics, (V, 3, 3), np.float64)
        _check("world_to_camera", self.world_to_camera, (V, 4, 4), np.float64)
        _check("homographies", self.homographies, (V, T, 3, 3), np.float64)
        if (self.intrinsics is None) != (self.world_to_camera is None):
            raise ValueError("intrinsics and world_to_camera go together: give both or neither")

    @property
    def key(self) -> str:
        """The grid's name, unique in its data set."""
        return self.meta.key

    @property
    def views(self) -> int:
        """V."""
        return int(self.frames.shape[0])

    @property
    def times(self) -> int:
        """T."""
        return int(self.frames.shape[1])

    @property
    def height(self) -> int:
        """H, pixels."""
        return int(self.frames.shape[2])

    @property
    def width(self) -> int:
        """W, pixels."""
        return int(self.frames.shape[3])


def _check(name: str, array: npt.NDArray[Any] | None, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if array is None:
        return
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape} where the frames ask for {shape}")
    if array.dtype != np.dtype(dtype):
        raise ValueError(f"{name} has dtype {array.dtype} where {np.dtype(dtype)} is wanted")
