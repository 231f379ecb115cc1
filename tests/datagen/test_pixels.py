"""Colour, masks, shared memory, messages and files of pixels, without Blender."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from tests.datagen.glb import CUBE, CUBE_TRIANGLES

from fourreal.datagen.blender import protocol
from fourreal.datagen.blender.exr import read_exr
from fourreal.datagen.blender.pixels import RenderedPixels, linear_to_srgb, srgb_to_linear
from fourreal.datagen.blender.repair import redundant_triangles
from fourreal.datagen.blender.shared import PixelLayout, SharedBlock


def pixels_of(rgba: list[float]) -> RenderedPixels:
    colour = np.broadcast_to(np.array(rgba, np.float16), (2, 3, 4, 5, 4)).copy()
    return RenderedPixels(colour, np.ones((2, 3, 4, 5), np.float32))


def test_srgb_is_its_own_inverse_and_has_the_standard_middle_grey() -> None:
    values = np.linspace(0, 1, 101)
    assert np.allclose(linear_to_srgb(srgb_to_linear(values).astype(np.float32)), values, atol=1e-5)
    assert round(float(linear_to_srgb(np.array([0.2140], np.float32))[0]) * 255) == 127


def test_compositing_is_premultiplied_and_linear() -> None:
    white = np.ones((2, 4, 5, 3), np.float32)
    assert (pixels_of([0.0, 0.0, 0.0, 0.0]).over(white) == 255).all()
    assert (pixels_of([0.0, 0.0, 0.0, 1.0]).over(white) == 0).all()
    half = pixels_of([0.0, 0.0, 0.0, 0.5])
    assert (half.over(white) == 188).all()  # half the light is 188 in sRGB, not 128
    assert (half.mask == 128).all()
    assert half.over(white).shape == (2, 3, 4, 5, 3)
    assert (pixels_of([7.0, 7.0, 7.0, 1.0]).over(white) == 255).all()


@pytest.mark.parametrize("part", [np.s_[0:0, 0:0], np.s_[5:9, 3:4], np.s_[0:20, 0:30], np.s_[19:20, 28:30]])
def test_only_the_part_that_is_not_empty_matters(part: tuple[slice, slice]) -> None:
    rng = np.random.default_rng(0)
    colour = np.zeros((2, 3, 20, 30, 4), np.float16)
    colour[:, :, *part] = rng.uniform(0.0, 1.2, colour[:, :, *part].shape)
    pixels = RenderedPixels(colour, np.ones(colour.shape[:-1], np.float32))
    background = rng.uniform(size=(2, 20, 30, 3)).astype(np.float32)
    alpha = np.clip(colour[..., 3:].astype(np.float32), 0.0, 1.0)
    whole = colour[..., :3].astype(np.float32) + (1.0 - alpha) * background[:, None]
    assert np.array_equal(pixels.over(background), np.rint(255.0 * linear_to_srgb(whole)).astype(np.uint8))
    assert np.array_equal(pixels.mask, np.rint(255.0 * alpha[..., 0]).astype(np.uint8))


def test_a_block_is_seen_by_whoever_has_its_descriptor() -> None:
    layout = PixelLayout(2, 3, 4, 5)
    with SharedBlock(layout.size_bytes) as block:
        colour, depth = layout.arrays(mmap.mmap(block.descriptor, layout.size_bytes))
        colour[1, 2, 3, 4, 3], depth[1, 2, 3, 4] = 0.5, 7.0
        seen, seen_depth = layout.arrays(block.memory)
        assert (seen[1, 2, 3, 4, 3], seen_depth[1, 2, 3, 4]) == (0.5, 7.0)
        assert (seen.sum(), seen_depth.sum()) == (0.5, 7.0)
        del seen, seen_depth


def test_a_block_holds_the_passes_asked_for_and_no_others() -> None:
    plain = PixelLayout(2, 3, 4, 5)
    assert plain.size_bytes == 120 * 12
    layout = PixelLayout(2, 3, 4, 5, {"a": 1, "b": 3})
    assert layout.size_bytes == plain.size_bytes + 120 * 16
    with SharedBlock(layout.size_bytes) as block:
        memory = mmap.mmap(block.descriptor, layout.size_bytes)
        colour, depth = layout.arrays(memory)
        passes = layout.pass_arrays(memory)
        assert {name: values.shape for name, values in passes.items()} == {"a": (2, 3, 4, 5, 1), "b": (2, 3, 4, 5, 3)}
        for number, values in enumerate([colour, depth, *passes.values()]):
            values[:] = number + 1
        seen = [*layout.arrays(block.memory), *layout.pass_arrays(block.memory).values()]
        assert [np.unique(values).tolist() for values in seen] == [[1], [2], [3], [4]]
        del seen


def test_messages_arrive_whole_with_their_descriptor() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader, writer = os.pipe()
        protocol.send(ours, {"kind": "x", "text": "é" * 1000}, writer)
        message, descriptor = protocol.receive(theirs)
        assert message == {"kind": "x", "text": "é" * 1000}
        assert descriptor is not None
        os.write(descriptor, b"same pipe")
        assert os.read(reader, 100) == b"same pipe"
        for number in (reader, writer, descriptor):
            os.close(number)


def test_messages_that_are_none_are_refused() -> None:
    for data, error in [
        (struct.pack(">I", 2**31), ValueError),
        (struct.pack(">I", 4) + b"[1, ", ValueError),
        (struct.pack(">I", 2) + b"[]", ValueError),
        (struct.pack(">I", 9) + b"{}", EOFError),
        (b"", EOFError),
    ]:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.sendall(data)
            ours.close()
            with pytest.raises(error):
                protocol.receive(theirs)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ValueError, match="JSON"):
        protocol.send(ours, {"nan": float("nan")})


def test_an_exr_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    for data in (struct.pack("<II", 20000630, 0x202), struct.pack("<II", 1, 2)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="not a single-part"):
            read_exr(path)


def test_a_sound_mesh_keeps_all_its_triangles() -> None:
    assert len(redundant_triangles(CUBE, CUBE_TRIANGLES)) == 0
    both_sides = np.concatenate([CUBE_TRIANGLES, CUBE_TRIANGLES[:, ::-1]])
    assert len(redundant_triangles(CUBE, both_sides)) == 0


def test_triangles_that_lie_on_others_are_found() -> None:
    twice = np.concatenate([CUBE_TRIANGLES, CUBE_TRIANGLES[:3]])
    assert redundant_triangles(CUBE, twice).tolist() == [0, 1, 2]  # the later ones stay
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    assert redundant_triangles(square, np.array([[0, 1, 2], [1, 2, 3], [2, 3, 0]])).tolist() == [1]
    apart = np.concatenate([square, square])  # the same places, as other vertices
    assert redundant_triangles(apart, np.array([[0, 1, 2], [5, 6, 7], [2, 3, 4]])).tolist() == [1]
