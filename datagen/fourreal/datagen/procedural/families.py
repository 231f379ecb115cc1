"""The families of procedural models: rigid parts that move, skins that bend, shapes that change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fourreal.datagen.procedural import surfaces
from fourreal.datagen.procedural.materials import any_material, palette
from fourreal.datagen.procedural.model import Array, Bone, Model, Motion, Part, Shape, Skin, Surface

_KEYS_PER_SECOND = 24


def make_model(seed: int) -> Model:
    """The model of a seed: families take turns, all else is drawn from the seed."""
    name = list(FAMILIES)[seed % len(FAMILIES)]
    rng = np.random.default_rng([seed, 4])
    duration_s = rng.uniform(1.5, 3.0)
    times_s = np.linspace(0.0, duration_s, round(duration_s * _KEYS_PER_SECOND) + 1)
    return Model(name, seed, times_s, FAMILIES[name](times_s, rng))


def machine(times_s: Array, rng: np.random.Generator) -> tuple[Part, ...]:
    """A body with two to five rigid parts around it, each with a motion of its own."""
    colours = palette(5, rng)
    body = surfaces.any_solid(rng.uniform(1.0, 1.4), rng)
    motion = _bob(times_s, rng) if rng.uniform() < 0.7 else None
    parts = [Part(body, any_material(colours, rng), motion=motion)]
    count = int(rng.integers(2, 6))
    start = rng.uniform(0.0, 2.0 * np.pi)
    for i in range(count):
        turn = start + 2.0 * np.pi * i / count
        place = np.array([np.cos(turn), np.sin(turn), rng.uniform(-0.5, 0.7)]) * np.array([0.75, 0.75, 1.0])
        move = (_spin, _swing, _slide, _pulse)[rng.integers(4)]
        surface = surfaces.any_solid(rng.uniform(0.5, 0.85), rng)
        parts.append(Part(surface, any_material(colours, rng), _vector(place), 0, move(place, times_s, rng)))
    return tuple(parts)


def tentacle(times_s: Array, rng: np.random.Generator) -> tuple[Part, ...]:
    """One to three turned bodies on a foot that bend along a chain of bones, as a wave runs through them."""
    colours = palette(4, rng)
    count = int(rng.integers(1, 4))
    foot = surfaces.prism(0.5 + 0.12 * count, 0.2, int(rng.choice([4, 6, 24])))
    parts = [Part(foot, any_material(colours, rng), (0.0, 0.0, -0.1))]
    for i in range(count):
        turn = 2.0 * np.pi * (i + rng.uniform(0.0, 0.5)) / count
        place = (0.4 if count > 1 else 0.0) * np.array([np.cos(turn), np.sin(turn), 0.0])
        height = rng.uniform(1.2, 2.0)
        surface = surfaces.vase(rng.uniform(0.2, 0.34), height, rng)
        skin = _chain(surface, height, int(rng.integers(3, 7)), times_s, rng)
        parts.append(Part(surface, any_material(colours, rng), _vector(place), skin=skin))
    return tuple(parts)


def morph(times_s: Array, rng: np.random.Generator) -> tuple[Part, ...]:
    """A round body that swells and dents in two or three ways, with a few solids that circle around it."""
    colours = palette(4, rng)
    body = surfaces.ball(rng.uniform(0.9, 1.3, size=3), rings=20, sides=28)
    shapes = tuple(_dented(body, times_s, rng) for _ in range(int(rng.integers(2, 4))))
    parts = [Part(body, any_material(colours, rng), shapes=shapes)]
    for _ in range(int(rng.integers(0, 3))):
        surface = surfaces.any_solid(rng.uniform(0.3, 0.45), rng)
        motion = _circle(rng.uniform(0.8, 0.95), rng.uniform(-0.4, 0.4), times_s, rng)
        parts.append(Part(surface, any_material(colours, rng), motion=motion))
    return tuple(parts)


FAMILIES: dict[str, Callable[[Array, np.random.Generator], tuple[Part, ...]]] = {
    "machine": machine,
    "tentacle": tentacle,
    "morph": morph,
}


def _phase(times_s: Array, rng: np.random.Generator) -> Array:
    """An angle that runs 0.4 to 0.9 times around a second, from a random start: `[K]`."""
    return np.asarray(2.0 * np.pi * (rng.uniform(0.4, 0.9) * times_s + rng.uniform()))


def _still(place: Array, times_s: Array) -> Motion:
    K = len(times_s)
    return Motion(np.tile(place, (K, 1)), np.tile([1.0, 0.0, 0.0, 0.0], (K, 1)), np.ones((K, 3)))


def _spin(place: Array, times_s: Array, rng: np.random.Generator) -> Motion:
    still = _still(place, times_s)
    return Motion(still.location, _quaternions(_axis(rng), _phase(times_s, rng)), still.scale)


def _swing(place: Array, times_s: Array, rng: np.random.Generator) -> Motion:
    still = _still(place, times_s)
    angle = rng.uniform(0.5, 1.2) * np.sin(_phase(times_s, rng))
    return Motion(still.location, _quaternions(_axis(rng), angle), still.scale)


def _slide(place: Array, times_s: Array, rng: np.random.Generator) -> Motion:
    still = _still(place, times_s)
    way = rng.uniform(0.2, 0.4) * np.sin(_phase(times_s, rng))[:, None] * _axis(rng)
    return Motion(still.location + way, still.rotation, still.scale)


def _pulse(place: Array, times_s: Array, rng: np.random.Generator) -> Motion:
    still = _still(place, times_s)
    size = 1.0 + rng.uniform(0.2, 0.45) * np.sin(_phase(times_s, rng))[:, None]
    return Motion(still.location, still.rotation, size * still.scale)


def _bob(times_s: Array, rng: np.random.Generator) -> Motion:
    still = _still(np.zeros(3), times_s)
    up = rng.uniform(0.1, 0.3) * np.sin(_phase(times_s, rng))[:, None] * np.array([0.0, 0.0, 1.0])
    turn = _quaternions(np.array([0.0, 0.0, 1.0]), rng.uniform(-0.6, 0.6) * np.sin(_phase(times_s, rng)))
    return Motion(still.location + up, turn, still.scale)


def _circle(radius: float, height: float, times_s: Array, rng: np.random.Generator) -> Motion:
    angle = rng.choice([-1.0, 1.0]) * _phase(times_s, rng)
    location = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full_like(angle, height)], axis=-1)
    return Motion(location, _quaternions(_axis(rng), angle), np.ones((len(times_s), 3)))


def _chain(surface: Surface, height: float, count: int, times_s: Array, rng: np.random.Generator) -> Skin:
    """Bones up along z; each vertex follows the two nearest ones; every bone lags behind the one below it."""
    joints = np.linspace(0.0, height, count + 1)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    axis = np.array([np.cos(angle), 0.0, np.sin(angle)])  # across the bone, whose own y axis runs along it
    phase, lag = _phase(times_s, rng), rng.uniform(0.4, 0.9)
    amplitude = rng.uniform(0.7, 1.3) / count
    bones = tuple(
        Bone(
            (0.0, 0.0, float(joints[i])),
            (0.0, 0.0, float(joints[i + 1])),
            i - 1 if i else None,
            _quaternions(axis, amplitude * np.sin(phase - lag * i)),
        )
        for i in range(count)
    )
    middles = 0.5 * (joints[:-1] + joints[1:])
    distance = np.abs(surface.vertices[:, 2:] - middles) / (joints[1] - joints[0])
    weights = np.clip(1.0 - distance, 0.0, 1.0) + 1e-9 * (distance == distance.min(axis=1, keepdims=True))
    return Skin(bones, weights / weights.sum(axis=1, keepdims=True))


def _dented(surface: Surface, times_s: Array, rng: np.random.Generator) -> Shape:
    wave = 4.0 * rng.normal(size=3)
    amount = rng.uniform(0.25, 0.45) * np.sin(surface.vertices @ wave + rng.uniform(0.0, 2.0 * np.pi))
    value = 0.5 - 0.5 * np.cos(_phase(times_s, rng))
    return Shape(surface.vertices * (1.0 + amount[:, None]), value)


def _axis(rng: np.random.Generator) -> Array:
    direction = rng.normal(size=3)
    return np.asarray(direction / np.linalg.norm(direction))


def _quaternions(axis: Array, angle: Array) -> Array:
    """Rotations by `angle [K]` radians about a unit axis: `[K, 4]`, without a jump of sign between neighbours."""
    return np.concatenate([np.cos(0.5 * angle)[:, None], np.sin(0.5 * angle)[:, None] * axis], axis=1)


def _vector(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
