"""A square that moves sideways, under a known path: views against what its formula says they show, to the grey level.

Letters: V views, T times, H rows, W columns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr
from tests.datagen.warps.test_paths import draw
from tests.datagen.warps.test_resampling import places_of

from fourreal.datagen.warps.placement import Warp, plan_warp
from fourreal.datagen.warps.synthesis import synthesize

V, T, H, W = 4, 3, 96, 160
STEP = 7.3
"""Pixels from one time to the next."""


def _edge(distance: np.ndarray, sigma: float) -> np.ndarray:
    """0 to 1 across an edge that a Gaussian of `sigma` pixels blurs; 0 is a hard edge."""
    return np.asarray(ndtr(distance / sigma) if sigma else (distance > 0.0).astype(float))


def _square(x: np.ndarray, y: np.ndarray, left: float, top: float, sigma: float) -> np.ndarray:
    """Grey levels of a bright square of 40 pixels."""
    return 40.0 + 170.0 * _edge(20.0 - np.abs(x - left - 20.0), sigma) * _edge(20.0 - np.abs(y - top - 20.0), sigma)


def _areas(shows: Callable[..., np.ndarray], matrix: np.ndarray, height: int, width: int, points: int) -> np.ndarray:
    """`[height, width]`: the mean of `points` x `points` places in each pixel, under a map from pixels to places."""
    x, y = places_of(matrix @ np.diag([1 / points, 1 / points, 1.0]), points * height, points * width)
    return np.asarray(shows(x, y).reshape(height, points, width, points).mean(axis=(1, 3)))


def _moving(warp: Warp, sigma: float) -> list[Callable[..., np.ndarray]]:
    """What is seen at each time, by places in the shrunk source."""
    return [
        functools.partial(_square, left=warp.left + 40.0 + STEP * t, top=warp.top + 28.0, sigma=sigma) for t in range(T)
    ]


def _errors(family: str, seed: int, sigma: float, *, times_the_size: int, points: int = 4) -> np.ndarray:
    """Differences of all views but the first from the analytic picture, grey levels, `[V - 1, T, H, W]`."""
    warp = plan_warp(draw(family, V, W / H, seed, 1.0), (260, 180), H, W, np.random.default_rng(seed))
    width, height = (times_the_size * n for n in warp.shrunk_size)
    shown, scale = _moving(warp, sigma), np.diag([1 / times_the_size, 1 / times_the_size, 1.0])
    clip = [np.round(_areas(one, scale, height, width, points)).astype(np.uint8) for one in shown]
    views = synthesize([np.repeat(one[..., None], 3, axis=-1) for one in clip], T, warp, H, W)
    place = np.array([[1.0, 0.0, warp.left], [0.0, 1.0, warp.top], [0.0, 0.0, 1.0]])
    return np.array(
        [
            [
                views.frames[v, t, ..., 0]
                - _areas(shown[t], place @ np.linalg.inv(views.homographies[0, v]), H, W, points)
                for t in range(T)
            ]
            for v in range(1, V)
        ]
    )


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean()))


@pytest.mark.parametrize("times_the_size", [1, 2])
@pytest.mark.parametrize("family", ["affine", "homography"])
def test_a_square_with_soft_edges_is_reproduced_to_half_a_grey_level(family: str, times_the_size: int) -> None:
    """Edges blurred by a pixel, bytes in and out, RMS over a frame; of every view at every time."""
    for seed in range(3):
        errors = _errors(family, seed, 1.0, times_the_size=times_the_size)
        print(f"{family} {seed}: {max(_rms(e) for of in errors for e in of):.2f} RMS, {np.abs(errors).max():.1f} most")
        # To be a tenth of a pixel beside the path would give 0.65.
        assert max(_rms(error) for of_view in errors for error in of_view) < 0.5
        assert np.abs(errors).max() < 5.0


@pytest.mark.parametrize("times_the_size", [1, 2])
def test_hard_edges_are_reproduced_as_far_as_pixels_show_them(times_the_size: int) -> None:
    """Pixels of the source do not say where in them an edge lies: the picture is off by up to a third of the step."""
    errors = _errors("homography", 0, 0.0, times_the_size=times_the_size, points=16 // times_the_size)
    print(f"{_rms(errors):.2f} RMS, {np.abs(errors).max():.0f} most")
    assert _rms(errors) < 3.0
    assert np.abs(errors).max() < 68.0
