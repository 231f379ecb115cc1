"""Unit vectors as 2 x 12 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import unit_vectors

from fourreal.platform.codec import EncodedGrid, encode
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.octahedral import directions_to_integers, integers_to_directions


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0.0, 1.0))
def test_directions_come_back_within_their_precision_and_gaps_as_gaps(
    seed: int, height: int, width: int, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    directions = unit_vectors(rng.normal(size=(height, width, 3)) * rng.choice([1e-6, 1.0], 3))  # along axes too
    directions[rng.uniform(size=(height, width)) < missing] = np.nan
    back = integers_to_directions(directions_to_integers(directions))
    known = np.isfinite(directions).all(axis=-1)
    assert np.array_equal(np.isfinite(back), np.repeat(known[..., None], 3, axis=-1))
    assert np.allclose(np.linalg.norm(back[known], axis=-1), 1.0, atol=1e-6)
    sine = np.linalg.norm(np.cross(back[known].astype(float), directions[known].astype(float)), axis=-1)
    assert (sine < np.radians(0.06)).all()
    assert ((back[known] * directions[known]).sum(axis=-1) > 0).all()


def test_axes_are_exact_and_a_second_round_changes_nothing() -> None:
    axes = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)[None]
    assert np.array_equal(integers_to_directions(directions_to_integers(axes)), axes)
    once = integers_to_directions(
        directions_to_integers(unit_vectors(np.random.default_rng(0).normal(size=(50, 50, 3))))
    )
    assert np.array_equal(integers_to_directions(directions_to_integers(once)), once)


def test_damage_is_a_value_error() -> None:
    for wrong in (np.zeros((3, 4), np.uint16), np.zeros((4, 4), np.uint8), np.zeros((2, 4, 3), np.uint16)):
        with pytest.raises(ValueError, match="no packed directions"):
            integers_to_directions(wrong)


def test_a_grid_has_no_normals_unless_it_is_given_them() -> None:
    grid = Grid(frames=np.zeros((1, 2, 8, 8, 3), np.uint8), meta=GridMeta("k"))
    encoded = EncodedGrid(encode(grid))
    assert not encoded.has("normals")
    assert encoded.decode().normals is None
