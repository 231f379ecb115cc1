from __future__ import annotations

import contextlib
import dataclasses
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fourreal.platform.codec import FRAMES, META, EncodedGrid, encode
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid, GridMeta, check_key, make_key

GridMaker = Callable[..., Grid]
ARRAYS = ("mask", "depth", "flow", "intrinsics", "world_to_camera", "homographies")


@settings(max_examples=40)
@given(hnp.arrays(np.uint8, st.tuples(*(st.integers(1, n) for n in (3, 3, 9, 9)), st.just(3))))
def test_lossless_round_trip_is_exact_for_any_pixels(frames: np.ndarray) -> None:
    grid = Grid(frames=frames, meta=GridMeta("k"))
    assert np.array_equal(EncodedGrid(encode(grid, lossless=True)).decode().frames, frames)


def test_round_trip_keeps_everything_and_jpeg_stays_close(make_grid: GridMaker) -> None:
    grid = make_grid()
    back = EncodedGrid(encode(grid)).decode()
    assert back.meta == grid.meta
    assert back.normals is not None
    assert grid.normals is not None
    assert np.abs(back.normals - grid.normals).max() < 1e-3
    for name in ARRAYS:
        assert np.array_equal(getattr(back, name), getattr(grid, name)), name
    mse = np.mean((back.frames.astype(float) - grid.frames) ** 2)
    assert 10 * np.log10(255**2 / mse) > 38


def test_jpeg_keeps_colour_at_full_resolution() -> None:
    frame = np.zeros((16, 16, 3), np.uint8)
    frame[:, ::2, 0] = frame[:, 1::2, 2] = 200  # red and blue columns: 4:2:0 would mix them
    grid = Grid(frames=frame[None, None], meta=GridMeta("k"))
    back = EncodedGrid(encode(grid)).decode().frames[0, 0].astype(int)
    assert np.abs(back - frame).mean() < 12


def test_encoding_is_deterministic(make_grid: GridMaker) -> None:
    assert encode(make_grid()) == encode(make_grid())


def test_any_subset_of_frames_decodes_alone_as_in_the_whole(
    make_grid: GridMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import simplejpeg

    grid = EncodedGrid(encode(make_grid(V=3, T=4)))
    whole = grid.decode()
    calls = []
    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *a, **k: calls.append(1) or decode(*a, **k))
    pairs = [(2, 3), (0, 1), (2, 3)]
    some = grid.frames_at(pairs)
    assert len(calls) == len(pairs)
    assert np.array_equal(some, [whole.frames[v, t] for v, t in pairs])
    assert np.array_equal(grid.masks_at(pairs), [whole.mask[v, t] for v, t in pairs])  # type: ignore[index]


@pytest.mark.parametrize("lossless", [False, True])
def test_frames_come_as_jpeg_files_however_they_are_stored(make_grid: GridMaker, lossless: bool) -> None:
    import simplejpeg

    grid = make_grid(V=2, T=3)
    jpegs = EncodedGrid(encode(grid, lossless=lossless)).jpegs()
    assert len(jpegs) == 6
    for jpeg, frame in zip(jpegs, grid.frames.reshape(6, 16, 24, 3), strict=True):
        assert np.abs(simplejpeg.decode_jpeg(jpeg).astype(int) - frame).mean() < 3
    if not lossless:
        assert b"".join(jpegs) in encode(grid)[FRAMES]


def test_metadata_is_read_without_touching_pixels(make_grid: GridMaker) -> None:
    members = encode(make_grid())
    grid = EncodedGrid({META: members[META], FRAMES: b"damaged"})
    assert grid.shape == (2, 3, 16, 24)
    with pytest.raises(UserError, match="damaged"):
        grid.decode()


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_members_are_refused_with_a_sentence_never_with_another_error(data: st.DataObject) -> None:
    frames = np.arange(2 * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 2, 4, 4, 3)
    depth = np.ones((2, 2, 4, 4), np.float32)
    normals = np.tile(np.array([0, 0, 1], np.float32), (2, 2, 4, 4, 1))
    grid = Grid(frames=frames, meta=GridMeta("k"), depth=depth, normals=normals, homographies=np.zeros((2, 2, 3, 3)))
    members = encode(grid)
    name = data.draw(st.sampled_from(sorted(members)))
    raw = bytearray(members[name])
    cut = data.draw(st.integers(0, len(raw)))
    if data.draw(st.booleans()):
        raw = raw[:cut]
    else:
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UserError):
        EncodedGrid({**members, name: bytes(raw)}).decode()


@pytest.mark.parametrize("header", [b"[" * 50_000, b'{"codec": "png", "dtype": "i4,(1i4", "shape": [2, 3, 16, 24, 3]}'])
def test_a_hostile_header_is_refused_with_a_sentence(make_grid: GridMaker, header: bytes) -> None:
    members = encode(make_grid())
    pack = members[FRAMES][:4] + struct.pack("<I", len(header)) + header
    with pytest.raises(UserError, match="damaged"):
        EncodedGrid({**members, FRAMES: pack}).decode()


def test_a_newer_schema_is_refused_by_number(make_grid: GridMaker) -> None:
    members = encode(make_grid())
    newer = members[META].replace(b'"schema_version": 1', b'"schema_version": 2')
    assert newer != members[META]
    with pytest.raises(UserError, match=r"schema version 2.*upgrade"):
        EncodedGrid({**members, META: newer}).decode()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("frames", np.zeros((2, 3, 16, 24), np.uint8)),
        ("frames", np.zeros((2, 0, 16, 24, 3), np.uint8)),
        ("mask", np.zeros((2, 3, 16, 23), np.uint8)),
        ("mask", np.zeros((2, 3, 16, 24), bool)),
        ("depth", np.zeros((2, 3, 16, 24), np.float64)),
        ("normals", np.zeros((2, 3, 16, 24), np.float32)),
        ("world_to_camera", None),
        ("homographies", np.zeros((2, 3, 3))),
    ],
)
def test_a_grid_that_does_not_fit_together_cannot_be_made(make_grid: GridMaker, name: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(make_grid(), **{name: wrong})


@given(st.text())
def test_a_made_key_is_a_key(text: str) -> None:
    assert check_key(make_key(text))


@pytest.mark.parametrize("key", ["", "a/b", "..", "a.b", "a" * 201, "ä", "a\n"])
def test_keys_that_could_leave_a_folder_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="grid key"):
        GridMeta(key)
