from __future__ import annotations

import numpy as np
import pytest

from fourreal.datagen.warps.layers import composite, fill, layers_from_depth, layers_from_mask, paint_layers


def test_a_mask_gives_a_near_and_a_far_layer_around_the_pivot() -> None:
    mask = np.zeros((2, 40, 60), np.uint8)
    mask[:, 10:30, 20:40] = 255
    layers = layers_from_mask(mask, 1.5)
    far, near = layers.inverse_depths
    assert near / far == pytest.approx(1.5)
    assert near * far == pytest.approx(1.0)
    soft = layers.softened((30, 20)).coverage
    assert soft.shape == (1, 2, 20, 30)
    assert soft[0, 0, 10, 15] > 0.99
    assert soft[0, 0, 0, 0] == 0.0
    assert len(np.unique(soft[0, 0, 10])) >= 5  # the edge is soft


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_without_an_edge_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=f"covers {100 * value / 255:.1f} %"):
        layers_from_mask(np.full((2, 20, 20), value, np.uint8), 1.5)


def _three_planes() -> np.ndarray:
    depth = np.full((2, 40, 60), np.inf, np.float32)
    depth[:, 10:, :] = 3.0
    depth[:, 25:, 20:40] = 2.0
    return depth


def test_depth_is_divided_into_its_planes() -> None:
    layers = layers_from_depth(_three_planes() * 7.0)  # in any unit
    inverse = np.array(layers.inverse_depths)
    np.testing.assert_allclose(inverse / inverse[-1], [2.0 / 5.0, 2.0 / 3.0, 1.0], rtol=0.01)  # cut off at 2.5 times
    assert np.array_equal(layers.coverage[0] > 0.5, _three_planes() < 10)
    assert np.array_equal(layers.coverage[1] > 0.5, _three_planes() < 2.5)


def test_two_planes_are_two_layers_and_one_is_refused() -> None:
    depth = np.minimum(_three_planes(), 3.0)
    assert len(layers_from_depth(depth).inverse_depths) == 2
    with pytest.raises(ValueError, match="flat"):
        layers_from_depth(np.full((2, 20, 20), 4.0, np.float32))
    depth[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not positive"):
        layers_from_depth(depth)


def test_gaps_are_filled_from_around_them_and_the_rest_is_left_alone() -> None:
    y, x = np.mgrid[0:50, 0:70].astype(np.float32)
    ramp = np.stack([x, y, 0 * x + 9], axis=-1)
    known = np.ones((50, 70), bool)
    known[15:35, 20:50] = False
    broken = np.where(known[..., None], ramp, 250.0).astype(np.float32)
    filled = fill(broken, known)
    assert np.array_equal(filled[known], ramp[known])
    gap = filled[~known]
    assert gap[:, 0].min() >= 10
    assert gap[:, 0].max() <= 60  # nothing of the 250 is left
    np.testing.assert_allclose(gap[:, 2], 9.0, atol=1e-3)
    assert np.abs(filled - ramp)[~known].mean() < 3.0
    twice = fill(2.0 * broken, known)
    np.testing.assert_allclose(twice, 2.0 * filled, rtol=1e-4)  # linear: as steady over time as the picture


@pytest.mark.parametrize("count", [1, 2])
def test_layers_laid_over_each_other_give_the_picture_again(count: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (40, 60, 3)).astype(np.float32)
    coverage = np.zeros((count, 40, 60), np.float32)
    coverage[0, 10:35, 10:50] = 1.0
    if count == 2:
        coverage[1, 20:30, 20:40] = 1.0
    picture, share = composite(paint_layers(image, coverage))
    rim = np.zeros((40, 60), bool)
    for of_layer in coverage:  # two pixels around an edge belong to the gap that is filled
        edge = np.abs(np.diff(of_layer, axis=0, prepend=0)) + np.abs(np.diff(of_layer, axis=1, prepend=0)) > 0
        for dy in range(-3, 4):
            for dx in range(-3, 4):
                rim |= np.roll(edge, (dy, dx), (0, 1))
    np.testing.assert_allclose(picture[~rim], image[~rim], atol=1e-3)
    np.testing.assert_allclose(share, coverage[0], atol=1e-5)


def test_the_foreground_leaves_no_trace_in_the_background() -> None:
    image = np.full((40, 60, 3), 50.0, np.float32)
    image[10:30, 20:40] = 250.0
    coverage = (image[None, ..., 0] > 100).astype(np.float32)
    background, foreground = paint_layers(image, coverage)
    np.testing.assert_allclose(background, 50.0, atol=1e-3)
    inside = foreground[..., 3] > 0
    np.testing.assert_allclose(foreground[inside, :3], 250.0, atol=1e-2)
