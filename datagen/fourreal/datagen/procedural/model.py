"""A procedural model as plain data: parts with surfaces, materials and key frames.

Metres, seconds, z up; quaternions are (w, x, y, z). Letters: N vertices, K key frames, B bones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """A mesh. `vertices` `[N, 3]`; each face is a tuple of vertex numbers, `corners` its texture coordinates."""

    vertices: Array
    faces: tuple[tuple[int, ...], ...]
    corners: tuple[tuple[tuple[float, float], ...], ...]
    smooth: bool = True


@dataclass(frozen=True, eq=False)
class Material:
    """A base colour (sRGB, 0..1) or a texture (sRGB, uint8 `[h, w, 3]`), and how it shines."""

    colour: tuple[float, float, float]
    roughness: float
    metallic: float
    texture: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Motion:
    """Key frames of a rigid part, relative to its parent: location `[K, 3]`, rotation `[K, 4]`, scale `[K, 3]`."""

    location: Array
    rotation: Array
    scale: Array


@dataclass(frozen=True, eq=False)
class Bone:
    """A bone at rest, the number of its parent, and its rotation from rest in its own axes, `[K, 4]`."""

    head: tuple[float, float, float]
    tail: tuple[float, float, float]
    parent: int | None
    rotation: Array


@dataclass(frozen=True, eq=False)
class Skin:
    """Bones, and how much each vertex follows each of them: `weights` `[N, B]`, summing to 1."""

    bones: tuple[Bone, ...]
    weights: Array


@dataclass(frozen=True, eq=False)
class Shape:
    """A shape key: other positions `[N, 3]` of the same vertices, and how far they are taken on, `[K]` in 0..1."""

    vertices: Array
    value: Array


@dataclass(frozen=True, eq=False)
class Part:
    """One object. `parent` is the number of an earlier part."""

    surface: Surface
    material: Material
    location: tuple[float, float, float] = (0.0, 0.0, 0.0)
    parent: int | None = None
    motion: Motion | None = None
    skin: Skin | None = None
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True, eq=False)
class Model:
    """Parts that play together; every key frame of every part lies at one of `times_s` `[K]`."""

    family: str
    seed: int
    times_s: Array
    parts: tuple[Part, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON types, for the Blender child."""
        value = _plain(self)
        assert isinstance(value, dict)
        return value

    def sha256(self) -> str:
        """Of the description: the same for the same seed, before any Blender has run."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        # Rounded, so that the last bits of sines, which differ between processors, do not change the description.
        return (value.round(6) + 0.0 if value.dtype.kind == "f" else value).tolist()
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return round(value, 6) + 0.0 if isinstance(value, float) else value
