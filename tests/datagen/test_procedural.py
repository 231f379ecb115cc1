"""Procedural models as data, without Blender."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from fourreal.datagen.procedural import FAMILIES, make_model, surfaces
from fourreal.datagen.procedural.model import Surface


def _edges_of(surface: Surface) -> Counter[tuple[int, int]]:
    return Counter((a, b) for face in surface.faces for a, b in zip(face, face[1:] + face[:1], strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_solids_are_closed_and_turned_outwards(seed: int) -> None:
    surface = surfaces.any_solid(1.0, np.random.default_rng(seed))
    edges = _edges_of(surface)
    assert set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)
    volume = 0.0
    for face in surface.faces:
        a = surface.vertices[face[0]]
        for i in range(1, len(face) - 1):
            volume += np.dot(a, np.cross(surface.vertices[face[i]], surface.vertices[face[i + 1]])) / 6
    assert volume > 0.01
    assert [len(face) for face in surface.faces] == [len(corner) for corner in surface.corners]


def test_a_seed_gives_one_model() -> None:
    for seed in range(6):
        assert make_model(seed).sha256() == make_model(seed).sha256()
    assert len({make_model(seed).sha256() for seed in range(30)}) == 30
    assert json.loads(json.dumps(make_model(4).to_json())) == make_model(4).to_json()


def test_every_family_moves_in_its_own_way() -> None:
    families = {make_model(seed).family for seed in range(len(FAMILIES))}
    assert families == set(FAMILIES)
    for seed in range(30):
        model = make_model(seed)
        K = len(model.times_s)
        assert model.times_s[0] == 0 < model.times_s[-1]
        moving = [p for p in model.parts if p.motion or p.skin or p.shapes]
        assert moving
        for part in model.parts:
            N = len(part.surface.vertices)
            assert part.parent is None or part.parent < model.parts.index(part)
            if part.motion:
                assert part.motion.location.shape == part.motion.scale.shape == (K, 3)
                assert np.allclose(np.linalg.norm(part.motion.rotation, axis=1), 1)
            if part.skin:
                assert part.skin.weights.shape == (N, len(part.skin.bones))
                assert np.allclose(part.skin.weights.sum(axis=1), 1)
                assert np.ptp(part.skin.bones[-1].rotation, axis=0).max() > 0.01
            for shape in part.shapes:
                assert shape.vertices.shape == (N, 3)
                assert shape.value.shape == (K,)
                assert 0 <= shape.value.min() < shape.value.max() <= 1
        if model.family == "machine":
            assert sum(p.motion is not None for p in model.parts) >= 2
        elif model.family == "tentacle":
            assert any(p.skin for p in model.parts)
        else:
            assert len(model.parts[0].shapes) >= 2


def test_textures_and_colours_vary_and_avoid_white() -> None:
    materials = [part.material for seed in range(30) for part in make_model(seed).parts]
    assert 0.3 < np.mean([m.texture is not None for m in materials]) < 0.9
    assert max(min(m.colour) for m in materials) < 0.6
    assert len({m.colour for m in materials}) > 60
