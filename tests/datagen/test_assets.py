"""Where assets come from, without Blender."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from tests.datagen.glb import CUBE, Glb, moving_cube

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.gltf_checks import check_gltf
from fourreal.datagen.gltf_file import BadGltf, attribution_of, licence_of
from fourreal.platform.errors import UserError


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
