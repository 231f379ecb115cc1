"""Several objects side by side, and which assets share a scene; without Blender."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourreal.datagen.blender.layout import SIZES_M, arrange, placed, together
from fourreal.datagen.blender.scene import Measurement, Placement
from fourreal.datagen.render import Config
from fourreal.datagen.scene_items import group_items, naming, objects_of
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError


def walker(seed: int) -> Measurement:
    """A cloud of any size, anywhere, that travels up to three times its own size."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-3, 3)
    cloud = rng.normal(size=(1, 40, 3)) * rng.uniform(0.05, 1.0, size=3) + rng.uniform(-50, 50, size=3)
    points = size * (cloud + np.linspace(0.0, 1.0, 4)[:, None, None] * rng.uniform(-3.0, 3.0, size=3))
    return Measurement(points, points, points[..., 2].min(axis=1))


def apart(a: Measurement, b: Measurement) -> bool:
    """Whether a line on the floor separates all that two objects ever cover of it."""
    flat_a, flat_b = (m.hull[..., :2].reshape(-1, 2) for m in (a, b))
    angles = np.linspace(0.0, 2.0 * np.pi, 180, endpoint=False)
    across = np.stack([np.cos(angles), np.sin(angles)])
    return bool(((flat_a @ across).max(axis=0) < (flat_b @ across).min(axis=0)).any())


@given(seed=st.integers(0, 2**20), count=st.integers(1, 8))
@settings(max_examples=10)
def test_objects_stand_on_the_floor_in_their_size_and_never_meet(seed: int, count: int) -> None:
    measurements = [walker(seed + n) for n in range(count)]
    placements = arrange(measurements, np.random.default_rng(seed))
    stage = [placed(m, placement) for m, placement in zip(measurements, placements, strict=True)]
    for there in stage:
        assert there.lowest.min() == pytest.approx(0.0, abs=1e-6)
        assert there.hull[..., 2].min() == pytest.approx(0.0, abs=1e-6)
        extent = np.linalg.norm(np.ptp(there.hull, axis=1), axis=-1).max()
        assert SIZES_M[0] / 2**0.5 < extent < SIZES_M[1] * 2**0.5  # a box around what was turned is another box
    assert all(apart(a, b) for a, b in combinations(stage, 2))
    assert placements == arrange(measurements, np.random.default_rng(seed))
    everything = together(stage)
    assert everything.hull.shape == (4, 40 * count, 3)
    reach = 2.0 * sum(np.ptp(there.hull[..., :2].reshape(-1, 2), axis=0).max() + 0.4 for there in stage)
    assert np.ptp(everything.hull[..., :2].reshape(-1, 2), axis=0).max() < reach  # they stay together


def test_places_add_up() -> None:
    placement = Placement((1.0, 2.0, 3.0), 2.0, np.pi / 2)
    assert placement.apply(np.array([[2.0, 2.0, 4.0]])) == pytest.approx(np.array([[0.0, 2.0, 2.0]]))
    points = np.random.default_rng(0).normal(size=(4, 5, 3))
    assert np.array_equal(Placement().apply(points), points)
    other = Placement((-3.0, 0.5, 1.0), 0.3, -1.0)
    both = other.apply(placement.apply(points))
    assert placement.then(other).apply(points) == pytest.approx(both)
    assert Placement().then(other) == other, "one object keeps its bytes"


def items(count: int) -> list[Item]:
    return [
        Item(f"a{n}-{clip}", f"file:{n}", {"licence": f"L{n % 2}", "sha256": str(n), "clip": clip})
        for n in range(count)
        for clip in ("walk", "run")
    ]


@given(seed=st.integers(0, 99), count=st.integers(2, 9))
@settings(max_examples=25)
def test_scenes_show_different_assets_each_first_in_its_own(seed: int, count: int) -> None:
    listed = items(count)
    scenes = list(group_items(listed, (2, 4), seed))
    assert [objects_of(scene)[0] for scene in scenes] == listed
    for scene in scenes:
        parts = objects_of(scene)
        assert 2 <= len(parts) <= min(4, count)
        assert len({part.source for part in parts}) == len(parts)
        assert all(part in listed for part in parts)
        assert scene.spec["licence"] == " AND ".join(sorted({part.spec["licence"] for part in parts}))
        assert objects_of(Item(scene.key, scene.source, json.loads(json.dumps(scene.spec)))) == parts
    assert scenes == list(group_items(listed, (2, 4), seed))
    assert len({scene.key for scene in scenes}) == len(scenes)


def test_too_few_assets_and_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="needs at least 3 assets, and there are 2"):
        list(group_items(items(2), (3, 4), 0))
    for wrong in ((0, 2), (3, 2), (2, 99)):
        with pytest.raises(UserError, match="--objects-per-scene takes LEAST MOST"):
            Config(assets="a", out="o", objects_per_scene=wrong)
    failure = naming(items(1)[0], ItemFailure("load", "truncated", "it ends early"))
    assert str(failure) == "a0-walk (file:0, sha256 0): it ends early"
