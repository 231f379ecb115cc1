from __future__ import annotations

import cv2
import numpy as np

from fourreal.datagen.videos.greys import Halved


def test_a_size_is_the_same_whatever_was_asked_for_before() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (181, 323), np.uint8)
    sizes = [(300, 170), (161, 90), (64, 36), (100, 50), (20, 11)]
    shared = Halved(picture)
    for size in (*sizes, *sizes[::-1]):
        found = shared.shrunk(*size)
        assert found.shape == size[::-1]
        assert np.array_equal(found, Halved(picture).shrunk(*size))


def test_halves_are_made_once() -> None:
    shared = Halved(np.zeros((160, 256), np.uint8))
    shared.shrunk(60, 36)
    halves = list(shared._halves)
    shared.shrunk(50, 30)
    assert all(a is b for a, b in zip(halves, shared._halves, strict=True))
    assert [half.shape for half in halves] == [(160, 256), (80, 128), (40, 64)]


def test_shrinking_sees_every_pixel() -> None:
    picture = np.zeros((144, 256), np.uint8)
    picture[::2, 1::2] = 200  # what a sampler of every fourth pixel would take for black or for white
    mean = cv2.mean(Halved(picture).shrunk(64, 36))[0]
    assert abs(mean - 50.0) < 1.0
