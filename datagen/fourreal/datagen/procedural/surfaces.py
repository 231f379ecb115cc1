"""Surfaces of many shapes from one construction: rings of points, joined by quads."""

from __future__ import annotations

import numpy as np

from fourreal.datagen.procedural.model import Array, Surface

_POLE = 0.02
"""Relative radius of the last ring of a closed shape; its cap is one flat face."""


def ringed(points: Array, *, closed: bool = False, smooth: bool = True) -> Surface:
    """Join rings `[R, S, 3]` of points, counter-clockwise seen from the last ring, into a surface.

    The ends are capped, or, if `closed`, the last ring is joined to the first.
    """
    R, S, _ = points.shape
    faces: list[tuple[int, ...]] = []
    corners: list[tuple[tuple[float, float], ...]] = []
    rings = R if closed else R - 1
    for i in range(rings):
        low, high = i / rings, (i + 1) / rings
        for j in range(S):
            k, left, right = (j + 1) % S, j / S, (j + 1) / S
            above = (i + 1) % R
            faces.append((i * S + j, i * S + k, above * S + k, above * S + j))
            corners.append(((left, low), (right, low), (right, high), (left, high)))
    if not closed:
        faces += [tuple(reversed(range(S))), tuple(range((R - 1) * S, R * S))]
        corners += [tuple((j / S, end) for j in range(S)) for end in (0.0, 1.0)]
    return Surface(points.reshape(-1, 3), tuple(faces), tuple(corners), smooth)


def lathe(radii: Array, heights: Array, sides: int, *, roundness: float = 2.0, smooth: bool = True) -> Surface:
    """Turn a profile `radii [R]` at `heights [R]` around z.

    The cross section is a superellipse: exponent 2 is a circle, larger ones go towards a square.
    """
    turn = 2.0 * np.pi * (np.arange(sides) + 0.5) / sides
    x, y = np.cos(turn), np.sin(turn)
    stretch = (np.abs(x) ** roundness + np.abs(y) ** roundness) ** (-1.0 / roundness)
    ring = np.stack([x * stretch, y * stretch], axis=-1)
    flat = radii[:, None, None] * ring[None]
    height = np.broadcast_to(heights[:, None, None], (len(radii), sides, 1))
    return ringed(np.concatenate([flat, height], axis=-1), smooth=smooth)


def box(size: Array) -> Surface:
    """A box of full edge lengths `[3]` around the origin."""
    surface = lathe(np.full(2, np.sqrt(0.5)), np.array([-0.5, 0.5]), 4, smooth=False)
    return Surface(surface.vertices * size, surface.faces, surface.corners, smooth=False)


def ball(size: Array, *, rings: int = 14, sides: int = 20) -> Surface:
    """An ellipsoid of full extents `[3]` around the origin."""
    polar = np.linspace(_POLE * np.pi, (1.0 - _POLE) * np.pi, rings)
    surface = lathe(0.5 * np.sin(polar), -0.5 * np.cos(polar), sides)
    return Surface(surface.vertices * size, surface.faces, surface.corners)


def prism(radius: float, height: float, sides: int, *, taper: float = 1.0) -> Surface:
    """A prism around z with its middle at the origin; `taper` is the upper radius over the lower."""
    radii = radius * np.array([1.0, max(taper, _POLE)])
    return lathe(radii, height * np.array([-0.5, 0.5]), sides, smooth=sides > 12)


def torus(radius: float, thickness: float, *, rings: int = 24, sides: int = 10) -> Surface:
    """A ring around z."""
    around = 2.0 * np.pi * np.arange(rings)[:, None] / rings
    across = 2.0 * np.pi * np.arange(sides)[None, :] / sides
    reach = radius + thickness * np.cos(across)
    height = np.broadcast_to(-thickness * np.sin(across), (rings, sides))
    return ringed(np.stack([reach * np.cos(around), reach * np.sin(around), height], axis=-1), closed=True)


def vase(radius: float, height: float, rng: np.random.Generator, *, rings: int = 18, sides: int = 20) -> Surface:
    """A turned body with a random smooth profile, standing on the origin."""
    up = np.linspace(0.0, 1.0, rings)
    waves = sum(rng.uniform(-0.3, 0.3) * np.sin(np.pi * (n + 1) * up + rng.uniform(0.0, np.pi)) for n in range(3))
    return lathe(radius * np.clip(0.8 + waves, 0.25, 1.5), height * up, sides, roundness=rng.choice([2.0, 3.0, 6.0]))


def any_solid(size: float, rng: np.random.Generator) -> Surface:
    """A random solid of about `size` metres, around the origin."""
    match rng.integers(5):
        case 0:
            return box(size * rng.uniform(0.5, 1.1, size=3))
        case 1:
            return ball(size * rng.uniform(0.6, 1.1, size=3))
        case 2:
            return prism(0.5 * size, size * rng.uniform(0.4, 1.1), int(rng.choice([3, 5, 6, 24])))
        case 3:
            return prism(0.55 * size, size * rng.uniform(0.7, 1.1), int(rng.choice([4, 24])), taper=0.0)
        case _:
            return torus(0.4 * size, 0.15 * size)
