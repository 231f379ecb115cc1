from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import webdataset as wds

from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.shards import list_shards, read_grid, read_grids, read_shard, record_name, write_shard
from fourreal.platform.storage import Storage

GridMaker = Callable[..., Grid]


@pytest.fixture
def filled(tmp_path: Path, make_grid: GridMaker) -> Storage:
    storage = Storage(str(tmp_path))
    write_shard(storage, 0, [(k, encode(make_grid(k, seed=i))) for i, k in enumerate(("a", "b"))])
    write_shard(storage, 1, [("c", encode(make_grid("c", seed=2)))])
    return storage


def test_what_is_written_is_read_in_order(filled: Storage) -> None:
    assert [grid.key for grid in read_grids(filled)] == ["a", "b", "c"]
    assert read_grid(filled, "c").decode().meta.seed == 2
    with pytest.raises(UserError, match="no grid 'd'"):
        read_grid(filled, "d")


def test_the_same_samples_give_the_same_bytes(filled: Storage, tmp_path: Path, make_grid: GridMaker) -> None:
    again = Storage(str(tmp_path / "again"))
    write_shard(again, 1, [("c", encode(make_grid("c", seed=2)))])
    assert again.read("shard-000001.tar") == filled.read("shard-000001.tar")
    assert again.read("shard-000001.json") == filled.read("shard-000001.json")


def test_plain_webdataset_reads_our_shards(filled: Storage) -> None:
    samples = list(wds.WebDataset([filled.path("shard-000000.tar")], shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["a", "b"]
    assert json.loads(samples[0]["meta.json"])["key"] == "a"


def test_shards_are_what_webdatasets_writer_gives(filled: Storage, make_grid: GridMaker) -> None:
    buffer = io.BytesIO()
    with wds.TarWriter(buffer, encoder=False, mtime=0.0, user="fourreal", group="fourreal", mode=0o644) as tar:
        tar.write({"__key__": "c", **encode(make_grid("c", seed=2))})
    assert filled.read("shard-000001.tar") == buffer.getvalue()


def test_writing_shards_imports_no_torch() -> None:
    """It would cost every worker of a data job 180 MB."""
    script = "import sys, fourreal.datagen.synthesize; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})


def test_a_shard_without_its_record_does_not_exist(filled: Storage) -> None:
    filled.delete(record_name(0))
    assert [grid.key for grid in read_grids(filled)] == ["c"]


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 700, 5000])
def test_a_truncated_shard_is_refused(filled: Storage, cut: int) -> None:
    data = filled.read("shard-000000.tar")
    filled.write("shard-000000.tar", data[:cut])
    with pytest.raises(UserError, match="shard-000000"):
        list(read_shard(filled, list_shards(filled)[0]))


def test_a_shard_of_the_right_size_with_wrong_bytes_is_refused(filled: Storage) -> None:
    data = bytearray(filled.read("shard-000000.tar"))
    data[:512] = b"\xff" * 512
    filled.write("shard-000000.tar", bytes(data))
    with pytest.raises(UserError, match="shard-000000"):
        list(read_shard(filled, list_shards(filled)[0]))


def _replace_shard(storage: Storage, members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    storage.write("shard-000000.tar", buffer.getvalue())
    record = json.loads(storage.read(record_name(0)))
    storage.write(record_name(0), json.dumps({**record, "size_bytes": len(buffer.getvalue())}).encode())


class _Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["a.pyd", "a.pickle", "a.pth", "a.npz", "a", "../a.meta.json", "x/a.meta.json"])
def test_members_that_grids_do_not_have_are_refused_by_name_and_never_opened(
    filled: Storage, make_grid: GridMaker, tmp_path: Path, name: str
) -> None:
    trap = tmp_path / "sprung"
    members = {f"a.{member}": data for member, data in encode(make_grid("a")).items()}
    _replace_shard(filled, {**members, name: pickle.dumps(_Trap(trap))})
    with pytest.raises(UserError, match="refused") as error:
        [grid.decode() for grid in read_shard(filled, list_shards(filled)[0])]
    assert name in str(error.value)
    assert not trap.exists()


def test_a_pickle_inside_an_array_member_is_not_opened(filled: Storage, make_grid: GridMaker, tmp_path: Path) -> None:
    import numpy as np

    trap = tmp_path / "sprung"
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Trap(trap)], dtype=object), allow_pickle=True)
    members = {f"a.{member}": data for member, data in encode(make_grid("a")).items()}
    _replace_shard(filled, {**members, "a.homographies.npy": buffer.getvalue()})
    with pytest.raises(UserError, match="homographies"):
        next(iter(read_shard(filled, list_shards(filled)[0]))).decode()
    assert not trap.exists()


HOSTILE_RECORDS = [
    b'{"schema_version": "1"}',
    b'{"schema_version": null}',
    b'{"schema_version": 1, "keys": 5}',
    b"[" * 20_000,
]


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"schema_version": 1}', b"\xff", *HOSTILE_RECORDS])
def test_an_unreadable_record_is_named(filled: Storage, record: bytes) -> None:
    filled.write(record_name(1), record)
    with pytest.raises(UserError, match="shard-000001") as caught:
        list_shards(filled)
    assert "\n" not in str(caught.value)


def test_an_image_that_claims_to_be_larger_than_its_frame_takes_no_memory(
    filled: Storage, make_grid: GridMaker
) -> None:
    members = {f"a.{member}": data for member, data in encode(make_grid("a")).items()}
    mask = bytearray(members["a.mask.pack"])
    at = mask.index(b"IHDR") + 4
    mask[at : at + 8] = struct.pack(">2I", 2**24, 2**6)
    _replace_shard(filled, {**members, "a.mask.pack": bytes(mask)})
    with pytest.raises(UserError, match="a PNG of 16777216x64 pixels"):
        next(iter(read_shard(filled, list_shards(filled)[0]))).masks_at([(0, 0)])


@pytest.mark.parametrize(
    "change",
    [{"shape": None}, {"shape": [10**5, 10**5, 16, 24]}, {"shape": [2, 3, 16.0, 24]}, {"schema_version": None}, None],
)
def test_metadata_that_make_no_sense_are_named(
    filled: Storage, make_grid: GridMaker, change: dict[str, object] | None
) -> None:
    members = {f"a.{member}": data for member, data in encode(make_grid("a")).items()}
    document = json.loads(members["a.meta.json"])
    members["a.meta.json"] = b"[" * 20_000 if change is None else json.dumps({**document, **change}).encode()
    _replace_shard(filled, members)
    with pytest.raises(UserError, match="grid 'a' of"):
        next(iter(read_shard(filled, list_shards(filled)[0]))).decode()


def test_a_record_of_a_newer_schema_is_refused(filled: Storage) -> None:
    record = json.loads(filled.read(record_name(1)))
    filled.write(record_name(1), json.dumps({**record, "schema_version": 99}).encode())
    with pytest.raises(UserError, match=r"99.*upgrade"):
        list_shards(filled)


@pytest.mark.parametrize("samples", [[("a.b", {"meta.json": b"{}"})], [("a", {"meta.json": b"{}", "a.pickle": b""})]])
def test_the_writer_refuses_what_the_reader_would(filled: Storage, samples: list[tuple[str, dict[str, bytes]]]) -> None:
    with pytest.raises(ValueError, match=r"a\.b|a\.pickle"):
        write_shard(filled, 5, samples)
    assert not filled.exists("shard-000005.tar")


def test_the_writer_refuses_a_key_twice(filled: Storage) -> None:
    def twice() -> Iterator[tuple[str, dict[str, bytes]]]:
        yield "a", {"meta.json": b"{}"}
        yield "b", {"meta.json": b"{}"}
        yield "a", {"meta.json": b"{}"}

    with pytest.raises(ValueError, match="twice"):
        write_shard(filled, 5, twice())
