from __future__ import annotations

import cv2
import numpy as np
import pytest

from fourreal.datagen.warps.resampling import (
    IN_DOUBLE,
    IN_FINE,
    Doubler,
    Places,
    levels_of,
    sample,
    sampling_maps,
    soften,
    to_bytes,
)


def level_of(matrix: np.ndarray, height: int, width: int) -> int:
    return levels_of(matrix[None], height, width)[0]


def places_in(matrix: np.ndarray, height: int, width: int) -> Places:
    return sampling_maps(matrix[None], height, width)[0]


def resampled(image: np.ndarray, matrix: np.ndarray, height: int, width: int, level: int | None = None) -> np.ndarray:
    """Float view `[H, W, C]` of `[h, w, C]`."""
    out = np.empty((height, width, image.shape[2]), np.float32)
    level = level_of(matrix, height, width) if level is None else level
    doubled = Doubler(*image.shape)(image.astype(np.float32), level)
    sample(doubled, places_in(IN_DOUBLE @ matrix, height, width), out)
    return out


def opencv(image: np.ndarray, matrix: np.ndarray, height: int, width: int, flag: int) -> np.ndarray:
    """What cv2.warpPerspective gives for the same map."""
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    matrix = np.linalg.inv(half) @ matrix @ half
    return np.asarray(cv2.warpPerspective(image, matrix, (width, height), flags=flag | cv2.WARP_INVERSE_MAP))


def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth waves of 16 and 20 pixels, grey levels."""
    return 127.0 + 60.0 * np.sin(2 * np.pi * (x / 16.0 + y / 40.0)) + 50.0 * np.cos(2 * np.pi * y / 20.0)


def places_of(matrix: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:height, 0:width] + 0.5
    mapped = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix.T
    return mapped[..., 0] / mapped[..., 2], mapped[..., 1] / mapped[..., 2]


HOMOGRAPHY = np.array([[0.97, 0.04, 12.3], [-0.05, 0.95, 14.7], [2e-4, -3e-4, 1.0]])


def test_a_smooth_pattern_is_reproduced_to_half_a_grey_level() -> None:
    y, x = np.mgrid[0:100, 0:140] + 0.5
    source = np.repeat(pattern(x, y)[..., None], 3, axis=-1)
    view = resampled(np.round(source), HOMOGRAPHY, 64, 96)
    expected = pattern(*places_of(HOMOGRAPHY, 64, 96))
    error = np.abs(view[..., 0] - expected)
    assert error.mean() < 0.3
    assert np.sqrt((error**2).mean()) < 0.4
    assert error.max() < 1.1  # half a level is the rounding of the source
    exact_source = np.abs(resampled(source, HOMOGRAPHY, 64, 96)[..., 0] - expected)
    assert exact_source.max() < 0.5


def test_bytes_are_reproduced_to_half_a_grey_level_too() -> None:
    """Rounded before and after the doubling, and after sampling; see the module's docstring."""
    y, x = np.mgrid[0:100, 0:140] + 0.5
    source = np.round(np.repeat(pattern(x, y)[..., None], 4, axis=-1)).astype(np.uint8)
    out = np.empty((64, 96, 4), np.uint8)
    doubled = Doubler(100, 140, 4, np.uint8)(source, level_of(HOMOGRAPHY, 64, 96))
    sample(doubled, places_in(IN_DOUBLE @ HOMOGRAPHY, 64, 96), out)
    error = out[..., 0] - pattern(*places_of(HOMOGRAPHY, 64, 96))
    assert abs(error.mean()) < 0.08  # the pyramid rounds halves up
    assert np.sqrt((error**2).mean()) < 0.5
    assert np.abs(error).max() < 2.0
    assert np.all(out == out[..., :1])


@pytest.mark.parametrize("shift", [0.01, 0.25, 0.37, 0.5])
def test_a_ramp_is_moved_by_the_shift_to_1_128_of_a_pixel(shift: float) -> None:
    """OpenCV's own kernels round to 1/32 pixel, so that at the first of these shifts they do not move at all."""
    ramp = np.repeat((10.0 * np.arange(60.0))[None, :, None], 30, axis=0)
    matrix = np.array([[1.0, 0.0, 8.0 + shift], [0.0, 1.0, 8.0 + shift], [0.0, 0.0, 1.0]])
    view = resampled(ramp, matrix, 12, 40)[..., 0]
    np.testing.assert_allclose(view[6], 10.0 * (np.arange(40.0) + 8.0 + shift), atol=10.0 / 128 + 1e-3)


def test_a_square_that_moves_evenly_has_evenly_moving_edges() -> None:
    """The place of an edge, read off the sum of a row, follows the path to a hundredth of a pixel."""
    row = np.zeros((30, 80, 1), np.float32)
    row[:, 30:50] = 200.0
    for shift in np.linspace(0.0, 3.0, 13):
        matrix = np.array([[1.0, 0.0, 10.0 + shift], [0.0, 1.0, 8.0], [0.0, 0.0, 1.0]])
        view = resampled(row, matrix, 10, 60)[5, :, 0]
        centre = (view * (np.arange(60) + 0.5)).sum() / view.sum()
        assert abs(centre - (40.0 - 10.0 - shift)) < 0.01
        assert abs(view.sum() - 4000.0) < 25.0


def zone_plate(x: np.ndarray, y: np.ndarray, size: float) -> np.ndarray:
    """Rings, ever finer, up to the finest that pixels can show at the rim of `size`."""
    return 127.5 + 120.0 * np.cos(0.5 * np.pi / size * ((x - size / 2) ** 2 + (y - size / 2) ** 2))


def area_view(matrix: np.ndarray, height: int, width: int, size: float) -> np.ndarray:
    """A view of the zone plate whose pixels average their whole area: 8 x 8 points in each."""
    fine = matrix @ np.diag([0.125, 0.125, 1.0])
    x, y = places_of(fine, 8 * height, 8 * width)
    return zone_plate(x, y, size).reshape(height, 8, width, 8).mean(axis=(1, 3))


def area_source(size: int) -> np.ndarray:
    return area_view(np.eye(3), size, size, size)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10.0 * np.log10(255.0**2 / ((a - b) ** 2).mean()))


def turned(zoom: float, H: int, size: int) -> np.ndarray:
    """A view from the middle of a picture, turned a little, its pixels `zoom` times as large."""
    c, s = zoom * np.cos(0.05), zoom * np.sin(0.05)
    return np.array([[c, -s, size / 2 - H / 2 * zoom + 1.3], [s, c, size / 2 - H / 2 * zoom - 1.2], [0, 0, 1.0]])


def tilted(H: int, size: int) -> np.ndarray:
    """A view from the middle of a picture whose pixels are 0.79 to 1.34 times as large from one corner to the other."""
    to_middle = np.array([[1.0, 0.0, size / 2 + 1.3], [0.0, 1.0, size / 2 - 1.2], [0.0, 0.0, 1.0]])
    from_middle = np.array([[1.0, 0.0, -H / 2], [0.0, 1.0, -H / 2], [0.0, 0.0, 1.0]])
    return to_middle @ np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3e-3, 1.5e-3, 1.0]]) @ from_middle


@pytest.mark.parametrize("zoom", [0.85, 1.0, 1.25, 1.5, None])
def test_less_blur_and_aliasing_than_opencv(zoom: float | None) -> None:
    """Against pixels that average their area, at a slight turn, or tilted (no zoom)."""
    size, H = 128, 72
    source = area_source(size)[..., None].astype(np.float32)
    matrix = turned(zoom, H, size) if zoom else tilted(H, size)
    expected = area_view(matrix, H, H, size)
    ours = psnr(resampled(source, matrix, H, H)[..., 0], expected)
    as_bytes = np.round(np.repeat(source, 3, axis=-1)).astype(np.uint8)
    out = np.empty((H, H, 3), np.uint8)
    level = level_of(matrix, H, H)
    sample(Doubler(size, size, 3, np.uint8)(as_bytes, level), places_in(IN_DOUBLE @ matrix, H, H), out)
    linear = psnr(opencv(source, matrix, H, H, cv2.INTER_LINEAR), expected)
    cubic = psnr(opencv(source, matrix, H, H, cv2.INTER_CUBIC), expected)
    print(f"zoom {zoom}: ours {ours:.1f} linear {linear:.1f} cubic {cubic:.1f}")
    assert ours > linear + 3.0
    assert ours > cubic + 3.0
    assert psnr(out[..., 0].astype(float), expected) > 44.0


@pytest.mark.parametrize("zoom", [0.85, 1.0, 1.25, 1.5, None])
def test_twice_the_resolution_gives_views_their_own_detail(zoom: float | None) -> None:
    """Bytes; rings up to the finest that pixels of the single resolution can show."""
    size, H = 128, 72
    matrix = turned(zoom, H, size) if zoom else tilted(H, size)
    expected = area_view(matrix, H, H, size)
    fine = np.round(area_view(np.diag([0.5, 0.5, 1.0]), 2 * size, 2 * size, size)).astype(np.uint8)
    out = np.empty((H, H), np.uint8)
    sample(soften(fine, level_of(matrix, H, H)), places_in(IN_FINE @ matrix, H, H), out)
    coarse = area_source(size)[..., None].astype(np.float32)
    found, single = psnr(out.astype(float), expected), psnr(resampled(coarse, matrix, H, H)[..., 0], expected)
    print(f"zoom {zoom}: {found:.1f}, of the single resolution {single:.1f}")
    assert found > 44.0


def test_levels_follow_the_size_of_a_views_pixels() -> None:
    assert level_of(np.eye(3), 40, 60) == 0
    assert level_of(np.diag([0.7, 0.7, 1.0]), 40, 60) == 0  # nothing to blur where a view enlarges
    assert level_of(np.diag([1.2, 1.2, 1.0]), 40, 60) == 2
    turned = np.array([[0.0, -1.0, 40.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert level_of(turned, 40, 60) == 0
    assert level_of(np.diag([1.0, 1.5, 1.0]), 40, 60) == 4
    ahead = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1e-3, 0.0, 1.0]])
    slope = 2e-4
    x, y = places_of(ahead, 40, 60)
    moments = np.gradient(x, axis=1) ** 2 + np.gradient(x, axis=0) ** 2
    assert abs(moments.mean() - 1.2 ** level_of(ahead, 40, 60)) < 0.2 + slope


def test_bytes_are_rounded_and_saturated() -> None:
    out = np.empty((1, 4, 1), np.uint8)
    to_bytes(np.array([[[-20.0], [3.6], [254.6], [300.0]]], np.float32), out)
    assert out.ravel().tolist() == [0, 4, 255, 255]
