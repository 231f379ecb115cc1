"""What is taken out of Objaverse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.datagen.objaverse_mirror import Mirror, annotation, row, serve, tag

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.objaverse.catalogue import Published
from fourreal.datagen.objaverse.licences import spdx_of
from fourreal.datagen.objaverse.selection import choose, is_held_out
from fourreal.datagen.objaverse.settings import Downloads, Selection
from fourreal.platform.datajob import Item
from fourreal.platform.errors import UserError

OBJECTS = [
    annotation("plain"),
    annotation("still", animationCount=0),
    annotation("lively", animationCount=3, tags=[tag("Low Poly"), tag("Fox")]),
    annotation("shared", license="by-sa", tags=[tag("fox")]),
    annotation("free", license="cc0", user={"username": "bob", "displayName": ""}),
    annotation("closed", license="by-nc-sa", tags=[tag("truck")]),
    annotation("bare", license=None, tags=None, user=None, name=None, viewerUrl=None),
]


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    mirror = Mirror()
    mirror.publish(OBJECTS, {}, folders=3)
    mirror.publish_lvis({"Fox": ["lively", "shared"], "truck": ["closed", "not there"]})
    with serve(mirror) as served:
        yield served


def select(mirror: Mirror, tmp_path: Path, seed: int = 0, assets: str = "objaverse", **selection: object) -> list[Item]:
    downloads = Downloads(cache=str(tmp_path / "cache"), url=mirror.url, backoff_s=0.01, attempts=2)
    source = open_assets(assets, seed, None, Selection(**selection), downloads)  # type: ignore[arg-type]
    return list(list_assets(source, 1))


@pytest.mark.parametrize(
    ("selection", "uids"),
    [
        ({}, "bare closed free lively plain shared"),
        ({"min_animations": 0}, "bare closed free lively plain shared still"),
        ({"min_animations": 2}, "lively"),
        ({"licences": ("by", "CC-BY-SA-4.0")}, "lively plain shared"),
        ({"licences": ("CC0",)}, "free"),
        ({"tags": ("FOX",)}, "lively shared"),
        ({"tags": ("low-poly", "truck")}, "closed lively"),
        ({"lvis_categories": ("fox",)}, "lively shared"),
        ({"lvis_categories": ("Fox", "Truck"), "licences": ("by",)}, "lively"),
    ],
)
def test_every_filter(selection: dict[str, object], uids: str, mirror: Mirror, tmp_path: Path) -> None:
    assert sorted(item.key for item in select(mirror, tmp_path, **selection)) == uids.split()


def test_a_list_of_uids_asks_for_their_metadata_alone(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "uids.txt").write_text("# mine\nplain\nstill.glb  # moves not\n\nnobody\n")
    items = select(mirror, tmp_path, uids_file=str(tmp_path / "uids.txt"), min_animations=0)
    assert sorted(item.key for item in items) == ["plain", "still"]
    assert sum("/metadata/" in name for name in mirror.asked) == 2
    for text, says in (("# none\n", "holds no uid"), (None, "cannot be read")):
        path = tmp_path / "other.txt"
        path.write_text(text) if text else path.unlink()
        with pytest.raises(UserError, match=says):
            select(mirror, tmp_path, uids_file=str(path))


def test_an_item_says_whom_to_credit(mirror: Mirror, tmp_path: Path) -> None:
    items = {item.key: item for item in select(mirror, tmp_path)}
    assert items["shared"].source == "https://sketchfab.com/3d-models/shared"
    assert items["shared"].spec["licence"] == "CC-BY-SA-4.0"
    assert items["shared"].spec["attribution"] == {
        "title": "Title of shared",
        "author": "Ann Author",
        "url": "https://sketchfab.com/3d-models/shared",
    }
    assert items["free"].spec["attribution"]["author"] == "bob"
    assert items["bare"].source == "https://api.sketchfab.com/v3/models/bare"
    assert (items["bare"].spec["licence"], items["bare"].spec["attribution"]["author"]) == ("", "")


def test_what_leaves_nothing_is_said_with_its_reasons(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"6 have another licence, 1 have too few animations \(there are CC-BY-4.0, CC"):
        select(mirror, tmp_path, licences=("MIT",))
    with pytest.raises(UserError, match="no category 'foxes': did you mean Fox"):
        select(mirror, tmp_path, lvis_categories=("foxes",))
    with pytest.raises(UserError, match="selects nothing of --assets procedural:3"):
        open_assets("procedural:3", 0, selection=Selection(sample=1))
    mirror.files.clear()
    with pytest.raises(UserError, match=r"metadata cannot be had \(not_found\).*--download.url"):
        select(mirror, tmp_path / "empty")


@pytest.mark.parametrize(
    ("setting", "says"),
    [({"min_animations": -1}, "min-animations"), ({"sample": 0}, "sample"), ({"held_out_share": 1.5}, "share")],
)
def test_selections_that_make_no_sense_are_refused(setting: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Selection(**setting)  # type: ignore[arg-type]


MANY = [Published(f"uid{i}", "", "", animations=1) for i in range(2000)]


@settings(max_examples=20)
@given(seed=st.integers(0, 10), smaller=st.integers(1, 50), larger=st.integers(50, 300))
def test_a_sample_begins_with_each_smaller_one_and_stays_when_others_go(seed: int, smaller: int, larger: int) -> None:
    small = choose(MANY, Selection(sample=smaller), seed)
    large = choose(reversed(MANY), Selection(sample=larger), seed)
    assert large[:smaller] == small
    kept = [found for found in MANY if found in large or int(found.uid[3:]) % 2]
    assert choose(kept, Selection(sample=larger), seed) == large
    assert choose(MANY, Selection(sample=larger), seed + 1) != large


def test_a_sample_is_drawn_from_everywhere() -> None:
    numbers = [int(found.uid[3:]) for found in choose(MANY, Selection(sample=500), 0)]
    assert abs(sum(numbers) / 500 - 1000) < 80  # three standard deviations of the mean


def test_the_split_is_disjoint_whole_and_moved_by_nothing(mirror: Mirror, tmp_path: Path) -> None:
    sides = {
        (seed, split): {i.key for i in select(mirror, tmp_path, seed, split=split, held_out_share=0.3)}
        for seed in (0, 1)
        for split in ("train", "held-out")
    }
    assert sides[0, "train"] == sides[1, "train"]
    assert sides[0, "held-out"] == sides[1, "held-out"]
    assert sides[0, "train"].isdisjoint(sides[0, "held-out"])
    assert sides[0, "train"] | sides[0, "held-out"] == {item.key for item in select(mirror, tmp_path)}
    held_out = [found for found in MANY if is_held_out(found.uid, 0.1)]
    assert 150 < len(held_out) < 250
    assert all(is_held_out(found.uid, 0.2) for found in held_out)
    assert not is_held_out("8476c4170df24cf5bbe6967222d1a42d", 0.02), "a fixed answer, in every version to come"


def test_xl_joins_what_is_known_and_takes_files_that_can_be_opened(mirror: Mirror, tmp_path: Path) -> None:
    blob = f"{mirror.url}/ann/foxes/blob/0123abc/models/fox.glb"
    rows = [
        {"fileIdentifier": blob, "license": "MIT License", "sha256": "1" * 64, "metadata": "{}"},
        {"fileIdentifier": blob.replace("fox.glb", "copy.glb"), "license": "", "sha256": "1" * 64, "metadata": "{}"},
        {"fileIdentifier": blob.replace("fox.glb", "fox.blend"), "fileType": "blend", "sha256": "2" * 64},
    ]
    mirror.publish_table("sketchfab", [row("plain", b"plain"), row("still", b"still")])
    mirror.publish_table("github", rows)
    museum = {"fileIdentifier": f"{mirror.url}/3d/plane.glb", "license": "CC0", "sha256": "3" * 64}
    mirror.publish_table("smithsonian", [museum | {"metadata": '{"title": "Plane"}'}])
    items = {item.key: item for item in select(mirror, tmp_path, assets="objaverse-xl")}
    assert set(items) == {"plain", "1" * 64, "3" * 64}
    assert items["plain"].spec["sha256"] == hashlib.sha256(b"plain").hexdigest()
    assert items["plain"].spec["attribution"]["author"] == "Ann Author"
    fox, plane = items["1" * 64], items["3" * 64]
    assert (fox.source, fox.spec["address"]) == (blob, blob.replace("/blob/", "/raw/"))
    assert fox.spec["attribution"] == {"title": "fox.glb", "author": "ann/foxes", "url": blob}
    assert (fox.spec["licence"], plane.spec["licence"]) == ("MIT", "CC0-1.0")
    assert plane.spec["attribution"]["title"] == "Plane"
    assert plane.spec["file"].startswith("smithsonian/objects/")
    with pytest.raises(UserError, match="4 have none of the tags"):
        select(mirror, tmp_path, assets="objaverse-xl", tags=("fox",), min_animations=0)


def test_a_file_of_two_addresses_is_on_one_side_of_the_split(mirror: Mirror, tmp_path: Path) -> None:
    uids = ["plain", "lively", "shared", "free", "closed"]
    rows = [row(uid, uid.encode()) for uid in uids]
    mirror.publish_table("sketchfab", rows)
    address = f"{mirror.url}/ann/foxes/blob/0123abc"
    mirror.publish_table(
        "github", [r | {"fileIdentifier": f"{address}/{n}.glb", "metadata": "{}"} for n, r in enumerate(rows)]
    )
    mirror.publish_table("smithsonian", [])
    sides = [
        {
            item.spec["sha256"]
            for item in select(mirror, tmp_path, assets="objaverse-xl", split=split, held_out_share=0.5)
        }
        for split in ("train", "held-out")
    ]
    assert all(sides)
    assert sides[0].isdisjoint(sides[1])
    assert len(sides[0] | sides[1]) == len(uids)


def test_licences_have_one_name_each() -> None:
    assert spdx_of("by") == spdx_of("cc-by-4.0") == spdx_of("Creative Commons - Attribution") == "CC-BY-4.0"
    assert spdx_of(" Some Own Licence ") == "Some Own Licence"
    assert spdx_of(None) == spdx_of("") == ""
