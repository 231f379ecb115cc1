"""Shards: their index records, tars and members, read in order and by key, and decoded."""

from __future__ import annotations

import functools
import io
import json
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from tests.conftest import unit_vectors
from tests.fuzz.harness import Target
from tests.fuzz.mutations import damaged_bytes, damaged_document, damaged_json, to_json

from fourreal.platform.codec import FRAMES, META, EncodedGrid, encode
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.shard_reader import ShardReader
from fourreal.platform.shards import list_shards, read_shard, record_name, shard_name, write_shard
from fourreal.platform.storage import Storage

_NAMES = [
    "../outside/a.meta.json",
    "/etc/a.meta.json",
    "a.pickle",
    "a/b.meta.json",
    "b.meta.json",
    "",
    "a",
    "a.META.json",
]
Input = tuple[bytes, bytes]
"""Tar and record."""


@functools.cache
def _members() -> dict[str, bytes]:
    V, T, H, W = 2, 2, 8, 12
    rng = np.random.default_rng(0)
    grid = Grid(
        frames=rng.integers(0, 255, (V, T, H, W, 3), dtype=np.uint8),
        meta=GridMeta("a", caption="c", fps=10.0, motion={"pixels": 1.0}),
        mask=rng.integers(0, 255, (V, T, H, W), dtype=np.uint8),
        depth=rng.uniform(1, 5, (V, T, H, W)).astype(np.float32),
        normals=unit_vectors(rng.normal(size=(V, T, H, W, 3))),
        flow=rng.normal(size=(V, T, H, W, 2)).astype(np.float32),
        intrinsics=rng.normal(size=(V, 3, 3)),
        world_to_camera=rng.normal(size=(V, 4, 4)),
        homographies=rng.normal(size=(V, T, 3, 3)),
    )
    return encode(grid)


def _tar(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


@functools.cache
def _record(tar: bytes) -> bytes:
    """The record of a sound shard, with the size of this one."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)
        write_shard(storage, 0, [("a", _members())])
        return to_json({**json.loads(storage.read(record_name(0))), "size_bytes": len(tar)})


def _damaged_pack(name: str) -> st.SearchStrategy[bytes]:
    """A packed member whose header is damaged, and stays as long as it says."""
    data = _members()[name]
    (size,) = struct.unpack_from("<I", data, 4)
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    shapes = [[2, 2, 8, 12], [1 << 20] * 4, [0, 0, 0, 0]]
    types = ["|O", "<f8", "|V999999999", "i4,(1i4"]
    headers = damaged_document(header, [*shapes, *types, "png", "jpeg", "zstd", "octahedral"]).map(to_json)
    return headers.map(lambda text: data[:4] + struct.pack("<I", len(text)) + text + rest)


@st.composite
def _damaged_member(draw: st.DrawFn) -> Input:
    members = {f"a.{name}": data for name, data in _members().items()}
    name = draw(st.sampled_from(sorted(members)))
    if name == f"a.{META}":
        shapes = [[1, 1, 1, 1], [10**6] * 4, [10**9, 1, 1, 1], [2, 2, 8], [2.0, 2, 8, 12]]
        members[name] = draw(damaged_json(json.loads(members[name]), shapes))
    elif name.endswith(".pack") and draw(st.booleans()):
        members[name] = draw(_damaged_pack(name.removeprefix("a.")))
    else:
        members[name] = draw(damaged_bytes(members[name]))
    tar = _tar(members)
    return tar, _record(tar)


@st.composite
def _renamed_member(draw: st.DrawFn) -> Input:
    members = {f"a.{name}": data for name, data in _members().items()}
    name = draw(st.sampled_from([f"a.{FRAMES}", f"a.{META}"]))
    data = members.pop(name)
    tar = _tar({**members, draw(st.one_of(st.sampled_from(_NAMES), st.text(max_size=20))): data})
    return tar, _record(tar)


def _inputs() -> st.SearchStrategy[Input]:
    tar = _tar({f"a.{name}": data for name, data in _members().items()})
    record = json.loads(_record(tar))
    return st.one_of(
        _damaged_member(),
        _damaged_member(),
        _renamed_member(),
        damaged_bytes(tar).map(lambda data: (data, _record(data))),
        damaged_bytes(tar).map(lambda data: (data, _record(tar))),
        damaged_json(record).map(lambda data: (tar, data)),
    )


def _use(given: Input, folder: Path) -> object:
    tar, record = given
    (folder / shard_name(0)).write_bytes(tar)
    (folder / record_name(0)).write_bytes(record)
    storage = Storage(str(folder))
    for shard in list_shards(storage):
        for grid in read_shard(storage, shard):
            _decode(grid)
        with (folder / shard.name).open("rb") as stream:
            reader = ShardReader(stream, shard, "the shard")
        for key in shard.keys:
            _decode(reader.grid(key))
    return None


def _decode(grid: EncodedGrid) -> None:
    grid.frames_at([(0, 0)])
    grid.decode()
    grid.jpegs()


TARGET = Target("shard", _inputs, _use, (UserError,))
