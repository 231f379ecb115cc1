"""Where assets come from, without Blender."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from tests.datagen.glb import CUBE, Glb, moving_cube

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.assets.files import FileAssets
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.gltf_checks import check_gltf
from fourreal.datagen.gltf_file import BadGltf, attribution_of, licence_of
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import StorageError


def test_a_folder_is_searched_to_any_depth_and_each_asset_counts_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    moving_cube(tmp_path / "my cube!.glb")
    moving_cube(tmp_path / "deep" / "er" / "my cube!.GLB")
    moving_cube(tmp_path / "deep" / "other.gltf")
    (tmp_path / "notes.txt").write_text("no asset")
    items = list(list_assets(open_assets(str(tmp_path), 0), 1))
    sha256 = hashlib.sha256((tmp_path / "my cube!.glb").read_bytes()).hexdigest()
    assert sorted(item.key for item in items) == [f"my-cube-{sha256[:8]}", f"other-{sha256[:8]}"]
    assert all(item.spec["sha256"] == sha256 for item in items)


def test_one_file_gives_as_many_grids_as_asked(tmp_path: Path) -> None:
    path = moving_cube(tmp_path / "cube.glb")
    (one,) = list_assets(open_assets(str(path), 0), 1)
    three = list(list_assets(open_assets(str(path), 0), 3))
    assert [item.key for item in three] == [f"{one.key}-{n:03d}" for n in range(3)]
    assert one.source == str(path)


def test_procedural_models_follow_the_seed() -> None:
    first, again, other = (list(list_assets(open_assets("procedural:4", seed), 1)) for seed in (0, 0, 1))
    assert first == again
    assert {item.key for item in first}.isdisjoint(item.key for item in other)
    assert [item.spec["model_seed"] for item in first] == [0, 1, 2, 3]
    assert first == list(list_assets(open_assets("procedural:9", 0), 1))[:4]
    assert not any("sha256" in item.spec for item in first), "there is no file yet"
    assert all(item.key.endswith(item.spec["model_sha256"][:8]) for item in first)


@pytest.mark.parametrize(
    ("assets", "says"),
    [
        ("procedural:", "procedural:12"),
        ("procedural:0", "procedural:12"),
        ("procedural:-3", "procedural:12"),
        ("nowhere/cube.glb", "does not exist"),
        ("nowhere", "no .glb or .gltf file"),
    ],
)
def test_nothing_to_do_is_said_in_one_sentence(assets: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        list(list_assets(open_assets(assets, 0), 1))


def test_the_licence_is_read_from_where_files_state_it(tmp_path: Path) -> None:
    glb = Glb()
    extras = {"license": "CC-BY-4.0", "author": "Ann", "title": "Cube", "source": "https://cube.test", "n": 3}
    glb.document["asset"] |= {"copyright": "2024 Ann", "extras": extras}
    data = glb.write(tmp_path / "a.glb").read_bytes()
    assert licence_of(data) == "2024 Ann; CC-BY-4.0; Ann"
    assert licence_of(json.dumps(glb.document).encode()) == "2024 Ann; CC-BY-4.0; Ann"
    credit = {"title": "Cube", "author": "Ann", "url": "https://cube.test"}
    assert attribution_of(data) == credit
    (item,) = list_assets(open_assets(str(tmp_path / "a.glb"), 0), 1)
    assert item.spec["attribution"] == credit
    bare = moving_cube(tmp_path / "b.glb").read_bytes()
    assert (licence_of(bare), attribution_of(bare)) == ("", {})


@pytest.mark.parametrize("data", [b"", b"glTF", b"glTF" + bytes(40), b"{}", b"[1]", b"\xff\xfe", b'{"asset": 3}'])
def test_a_broken_file_has_no_licence(data: bytes) -> None:
    assert licence_of(data) == ""
    assert attribution_of(data) == {}


def reason_of(path: Path) -> str | None:
    try:
        check_gltf(path)
    except BadGltf as error:
        return error.reason
    return None


def test_a_position_that_is_no_number_is_seen_in_every_kind_of_file(tmp_path: Path) -> None:
    vertices = CUBE.copy()
    for reason in ("nan_geometry", None):
        vertices[3] = np.nan if reason else 1.0
        glb = Glb()
        glb.node(vertices)
        assert reason_of(glb.write(tmp_path / "a.glb")) == reason
        text = "data:application/octet-stream;base64," + base64.b64encode(glb.binary).decode()
        for uri in (text, "a.bin"):
            (tmp_path / "a.bin").write_bytes(glb.binary)
            document = {**glb.document, "buffers": [{"byteLength": len(glb.binary), "uri": uri}]}
            (tmp_path / "a.gltf").write_text(json.dumps(document))
            assert reason_of(tmp_path / "a.gltf") == reason


def test_a_file_that_is_another_than_planned_is_not_rendered_under_its_name(tmp_path: Path) -> None:
    path = moving_cube(tmp_path / "cube.glb")
    source = FileAssets(str(path))
    (item,) = source.items()
    assert source.local(item, cast(BlenderWorker, None)) == (path, item.spec["sha256"])
    path.write_bytes(path.read_bytes() + bytes(4))
    with pytest.raises(ItemFailure, match=r"cube\.glb is not the file that was planned: put it back") as failure:
        source.local(item, cast(BlenderWorker, None))
    assert (failure.value.stage, failure.value.reason) == ("load", "changed")


def test_assets_of_an_object_store_are_named_by_their_address(tmp_path: Path, s3_bucket: str) -> None:
    Storage(f"{s3_bucket}/set").write("deep/cube.glb", moving_cube(tmp_path / "cube.glb").read_bytes())
    for assets in (f"{s3_bucket}/set", f"{s3_bucket}/set/deep/cube.glb"):
        (item,) = FileAssets(assets).items()
        assert item.source == f"{s3_bucket}/set/deep/cube.glb"


def test_a_full_disk_is_not_the_assets_fault_and_a_name_too_long_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glb = Glb()
    glb.node(CUBE)
    buffers = [{"byteLength": len(glb.binary), "uri": "a.bin"}, {"byteLength": 1, "uri": f"{'b' * 200}.bin"}]
    data = json.dumps({**glb.document, "buffers": buffers}).encode()
    for name in ("a.bin", f"{'b' * 200}.bin"):
        (tmp_path / name).write_bytes(glb.binary)
    (tmp_path / f"{'a' * 200}.gltf").write_bytes(data)
    source, number = FileAssets(str(tmp_path)), errno.ENAMETOOLONG
    write = Path.write_bytes

    def limited(path: Path, data: bytes) -> int:
        if len(path.name) > 100:
            raise OSError(number, "as the system says")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", limited)
    brought = source._bring(Storage(str(tmp_path)), f"{'a' * 200}.gltf")
    assert brought.read_bytes() == data
    assert sorted(path.name for path in brought.parent.iterdir()) == sorted([brought.name, "a.bin"])
    number = errno.ENOSPC
    with pytest.raises(StorageError, match="the disk is full") as full:
        source._bring(Storage(str(tmp_path)), f"{'a' * 200}.gltf")
    assert full.value.lasting
    source.close()
