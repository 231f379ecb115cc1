"""Colours that stand apart from one another, and small generated textures."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt

from fourreal.datagen.procedural.model import Array, Material

_TEXTURE = 64
"""Edge of a texture, pixels."""

_GOLDEN = 0.618034


def palette(count: int, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """`count` sRGB colours (0..1) with hues far apart; none so bright that light washes it out."""
    start = rng.uniform()
    return [
        colorsys.hsv_to_rgb((start + _GOLDEN * i) % 1.0, rng.uniform(0.45, 0.9), rng.uniform(0.45, 0.85))
        for i in range(count)
    ]


def any_material(colours: list[tuple[float, float, float]], rng: np.random.Generator) -> Material:
    """A material in one of the colours, or a texture of two of them."""
    first, second = (colours[i] for i in rng.choice(len(colours), size=2, replace=False))
    texture = _texture(np.array(first), np.array(second), rng) if rng.uniform() < 0.6 else None
    metallic = float(rng.choice([0.0, 0.0, 0.0, 0.6]))
    return Material(first, float(rng.uniform(0.3, 0.9)), metallic, texture)


def _texture(first: Array, second: Array, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Checks, stripes, dots or clouds: uint8 `[64, 64, 3]`, which repeats without a seam from side to side."""
    v, u = (np.mgrid[0:_TEXTURE, 0:_TEXTURE] + 0.5) / _TEXTURE
    across, along = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    match rng.integers(4):
        case 0:
            blend = (np.floor(2 * across * u) + np.floor(2 * along * v)) % 2.0
        case 1:
            blend = np.floor(2.0 * (across * u + along * v)) % 2.0
        case 2:
            blend = (np.hypot((across * u) % 1.0 - 0.5, (along * v) % 1.0 - 0.5) < 0.33).astype(np.float64)
        case _:
            waves = [np.sin(2 * np.pi * (n * u + rng.integers(1, 4) * v + rng.uniform())) for n in range(1, 5)]
            blend = 0.5 + 0.5 * np.tanh(sum(waves, np.zeros_like(u)))
    pixels = first + blend[..., None] * (second - first)
    return np.asarray(np.rint(pixels * 255.0), np.uint8)
