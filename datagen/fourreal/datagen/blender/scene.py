"""The scene that a Blender child renders, as plain data made outside Blender.

It names everything that decides the pixels, so the same scene of the same file gives the same bytes. Conventions:
OpenCV cameras, world-to-camera, metres, radians, pixel centres at +0.5; z is up in the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """One view: intrinsics 3x3 and world_to_camera 4x4, row by row."""

    intrinsics: tuple[float, ...]
    world_to_camera: tuple[float, ...]

    @classmethod
    def from_matrices(cls, intrinsics: npt.NDArray[np.float64], world_to_camera: npt.NDArray[np.float64]) -> Self:
        """From `[3, 3]` and `[4, 4]`."""
        return cls(tuple(intrinsics.ravel().tolist()), tuple(world_to_camera.ravel().tolist()))

    def intrinsics_matrix(self) -> npt.NDArray[np.float64]:
        """`[3, 3]`."""
        return np.array(self.intrinsics).reshape(3, 3)

    def world_to_camera_matrix(self) -> npt.NDArray[np.float64]:
        """`[4, 4]`."""
        return np.array(self.world_to_camera).reshape(4, 4)


@dataclass(frozen=True)
class Sun:
    """A distant light: where it shines from (a direction), its strength (W/m^2) and apparent size (radians)."""

    toward: Vector
    strength: float = 2.0
    angle: float = 0.1


@dataclass(frozen=True)
class Area:
    """A square light that looks at the origin: position and side in metres, power in watts."""

    position: Vector
    size: float
    power: float


@dataclass(frozen=True)
class Lights:
    """A sun, area lights, and a sky: linear RGB radiance straight down and straight up, blended between."""

    sun: Sun | None
    sky_down: Vector = (0.5, 0.5, 0.5)
    sky_up: Vector = (0.5, 0.5, 0.5)
    areas: tuple[Area, ...] = ()
    kind: str = "given"
    """What they were drawn as."""


@dataclass(frozen=True)
class Normalisation:
    """Moves an asset to the origin and to unit size: `scale * (x - centre)`; metres in, metres out."""

    centre: Vector
    scale: float


@dataclass(frozen=True)
class Placement:
    """Where an object of several stands: `scale`, then `turn` about z (radians), then a shift to `position`."""

    scale: float
    turn: float
    position: Vector

    def matrix(self) -> npt.NDArray[np.float64]:
        """`[4, 4]`, from the asset's own space."""
        cos, sin = self.scale * np.cos(self.turn), self.scale * np.sin(self.turn)
        x, y, z = self.position
        return np.array([[cos, -sin, 0.0, x], [sin, cos, 0.0, y], [0.0, 0.0, self.scale, z], [0.0, 0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Actor:
    """One object of several: its file, its clip, the moment (seconds) of the clip at the scene's time 0, its place."""

    asset: str
    clip: str
    start_s: float
    placement: Placement


@dataclass(frozen=True)
class Ground:
    """A horizontal floor at `height` (metres in the world), of two linear RGB colours that noise blends.

    It is opaque up to `solid_m` from the point under the origin and fades out up to `end_m`; `grain_per_m` is the
    noise's frequency, `offset` the place in the noise.
    """

    kind: str
    height: float
    colours: tuple[Vector, Vector]
    roughness: float
    grain_per_m: float
    offset: Vector
    solid_m: float
    end_m: float


@dataclass(frozen=True)
class Scene:
    """All that Blender is told.

    asset: path of a .glb or .gltf file. clip: the glTF animation to play. times_s: seconds on that clip's own time
    line, one for each time of the grid. seed: of the sampling noise, which differs from time to time.
    """

    asset: str
    clip: str
    times_s: tuple[float, ...]
    cameras: tuple[Camera, ...]
    lights: Lights
    normalisation: Normalisation
    height: int
    width: int
    samples: int
    seed: int
    device: str = "cpu"
    """`cpu`, or the interface to a GPU: pixels hang on it."""
    cast: tuple[Actor, ...] = ()
    """Several objects in the place of `asset`, whose clips start at the scene's time 0."""
    ground: Ground | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        lights, normalisation = value["lights"], value["normalisation"]
        sun = lights["sun"] and Sun(**{**lights["sun"], "toward": tuple(lights["sun"]["toward"])})
        cast = (Actor(**{**a, "placement": Placement(**_vectors(a["placement"], "position"))}) for a in value["cast"])
        ground = value["ground"] and _vectors(value["ground"], "offset")
        if ground:
            ground = Ground(**{**ground, "colours": tuple(map(tuple, ground["colours"]))})
        areas = tuple(Area(**{**area, "position": tuple(area["position"])}) for area in lights["areas"])
        return cls(
            **{
                **value,
                "times_s": tuple(value["times_s"]),
                "cameras": tuple(Camera(tuple(c["intrinsics"]), tuple(c["world_to_camera"])) for c in value["cameras"]),
                "lights": Lights(sun, tuple(lights["sky_down"]), tuple(lights["sky_up"]), areas, lights["kind"]),
                "normalisation": Normalisation(tuple(normalisation["centre"]), normalisation["scale"]),
                "cast": tuple(cast),
                "ground": ground,
            }
        )


@dataclass(frozen=True)
class Clip:
    """One choice of what an asset plays: a glTF animation with all others that move other parts."""

    name: str
    start_s: float
    duration_s: float


@dataclass(frozen=True, eq=False)
class Measurement:
    """Where the surface of an asset is at the sampled times, in the asset's own metres, z up.

    Shapes: `hull` `[T, D, 3]`, the surface's extreme points along D directions, so nothing lies far outside of
    them; `points` `[T, P, 3]`, the same P vertices at every time; `lowest` `[T]`, the smallest z of all vertices.
    """

    hull: npt.NDArray[np.float64]
    points: npt.NDArray[np.float64]
    lowest: npt.NDArray[np.float64]


def _vectors(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """With tuples again where JSON has lists."""
    return {**value, **{name: tuple(value[name]) for name in names}}
