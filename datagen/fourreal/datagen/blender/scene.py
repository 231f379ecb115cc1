"""The scene that a Blender child renders, as plain data made outside Blender.

It names everything that decides the pixels, so the same scene of the same file gives the same bytes. Conventions:
OpenCV cameras, world-to-camera, metres, radians, pixel centres at +0.5; z is up in the world.
"""

from __future__ import annotations

import base64
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
class Placement:
    """Brings an object from its own space (metres, z up) to its place: `scale * turned(x - centre)`.

    `turn` is about z, in radians; the point `centre` comes to the origin.
    """

    centre: Vector = (0.0, 0.0, 0.0)
    scale: float = 1.0
    turn: float = 0.0

    def apply(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """To points `[..., 3]`."""
        return _turned((points - np.array(self.centre)) * self.scale, self.turn)

    def then(self, other: Placement) -> Placement:
        """This one, and the other after it."""
        moved = np.array(self.centre) + _turned(np.array(other.centre), -self.turn) / self.scale
        x, y, z = moved.tolist()
        return Placement((x, y, z), self.scale * other.scale, self.turn + other.turn)


@dataclass(frozen=True)
class Actor:
    """An object of a scene: a .glb or .gltf file, the glTF animation that it plays, and its place.

    At the scene's time t (seconds) the clip stands at `start_s + t` on its own time line.
    """

    asset: str
    clip: str
    start_s: float = 0.0
    placement: Placement = Placement()


@dataclass(frozen=True)
class Ground:
    """A horizontal matte floor at `height` (metres in the world), of two linear RGB colours that noise blends.

    It is opaque up to `solid_m` from the point under the origin and fades out up to `end_m`; `grain_per_m` is the
    noise's frequency, `offset` the place in the noise.
    """

    kind: str
    height: float
    colours: tuple[Vector, Vector]
    grain_per_m: float
    offset: Vector
    solid_m: float
    end_m: float


@dataclass(frozen=True)
class Scene:
    """All that Blender is told.

    actors: the objects. times_s: seconds, one for each time of the grid. seed: of the sampling noise, which differs
    from time to time.
    """

    actors: tuple[Actor, ...]
    times_s: tuple[float, ...]
    cameras: tuple[Camera, ...]
    lights: Lights
    height: int
    width: int
    samples: int
    seed: int
    device: str = "cpu"
    """`cpu`, or the interface to a GPU: pixels hang on it."""
    ground: Ground | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        lights = value["lights"]
        sun = lights["sun"] and Sun(**{**lights["sun"], "toward": tuple(lights["sun"]["toward"])})
        ground = value["ground"] and _vectors(value["ground"], "offset")
        if ground:
            ground = Ground(**{**ground, "colours": tuple(map(tuple, ground["colours"]))})
        areas = tuple(Area(**{**area, "position": tuple(area["position"])}) for area in lights["areas"])
        return cls(
            **{
                **value,
                "actors": tuple(_actor(actor) for actor in value["actors"]),
                "times_s": tuple(value["times_s"]),
                "cameras": tuple(Camera(tuple(c["intrinsics"]), tuple(c["world_to_camera"])) for c in value["cameras"]),
                "lights": Lights(sun, tuple(lights["sky_down"]), tuple(lights["sky_up"]), areas, lights["kind"]),
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
    """Where the surface of an asset is at the sampled times, in metres, z up: in its own space, or where it is placed.

    Shapes: `hull` `[T, D, 3]`, the surface's extreme points along D directions, so nothing lies far outside of
    them; `points` `[T, P, 3]`, the same P vertices at every time; `lowest` `[T]`, the smallest z of all vertices.
    """

    hull: npt.NDArray[np.float64]
    points: npt.NDArray[np.float64]
    lowest: npt.NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """As plain data: each array as its shape and its bytes, because thousands of numbers as text take longer."""
        return {name: _packed(getattr(self, name)) for name in ("hull", "points", "lowest")}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Measurement:
        """The inverse of `to_json`. Raises ValueError or KeyError for anything else."""
        return cls(**{name: _unpacked(value[name]) for name in ("hull", "points", "lowest")})


def _packed(array: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {"shape": array.shape, "float64": base64.b64encode(array.astype("<f8").tobytes()).decode()}


def _unpacked(value: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(value["float64"]), "<f8").reshape(value["shape"])


def _actor(value: Mapping[str, Any]) -> Actor:
    return Actor(**{**value, "placement": Placement(**_vectors(value["placement"], "centre"))})


def _turned(points: npt.NDArray[np.float64], turn: float) -> npt.NDArray[np.float64]:
    """`[..., 3]` about z."""
    cos, sin = np.cos(turn), np.sin(turn)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)


def _vectors(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """With tuples again where JSON has lists."""
    return {**value, **{name: tuple(value[name]) for name in names}}
