"""`fourreal render --assets objaverse`: downloads as a stage of the job."""

from __future__ import annotations

import csv
import dataclasses
import errno
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from tests.datagen.glb import Glb
from tests.datagen.objaverse_mirror import Mirror, annotation, glb_bytes, row, serve
from tests.datagen.test_animations import fox

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.filters import Filters
from fourreal.datagen.objaverse.settings import Downloads, Selection
from fourreal.datagen.objaverse.source import ObjaverseAssets
from fourreal.datagen.render import Config, Renderer, data_job, run
from fourreal.platform.config import as_yaml, parse
from fourreal.platform.datajob import Item, ItemFailure, list_quarantine
from fourreal.platform.datajob.preparation import prepare_items
from fourreal.platform.runtime import ray_session
from fourreal.platform.shards import read_grids
from fourreal.platform.storage import Storage

UIDS = ["aaa", "bbb", "ccc"]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """Three animated objects."""
    mirror = Mirror()
    data = glb_bytes(tmp_path)
    mirror.publish([annotation(uid) for uid in UIDS], dict.fromkeys(UIDS, data))
    with serve(mirror) as served:
        yield served


def downloads_of(tmp_path: Path, mirror: Mirror, **changes: object) -> Downloads:
    settings = {"cache": str(tmp_path / "cache"), "url": mirror.url, "backoff_s": 0.01, "attempts": 2} | changes
    return Downloads(**settings)  # type: ignore[arg-type]


def test_a_stalled_file_holds_up_none_of_the_others(tmp_path: Path, mirror: Mirror) -> None:
    mirror.faults[mirror.address("bbb")] = ["silence"]
    source = open_assets("objaverse", 0, None, None, downloads_of(tmp_path, mirror, attempts=1, read_timeout_s=3.0))
    items = list(list_assets(source, 1))
    preparation = source.preparation()
    assert preparation is not None
    preparer = preparation.make_preparer()
    order: list[str] = []

    def prepare(item: Item) -> None:
        try:
            preparer.prepare(item)
        finally:
            order.append(item.key)

    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(prepare, item) for item in items]
        reasons = [getattr(future.exception(), "reason", "") for future in futures]
    assert order[-1] == "bbb"
    assert sorted(reasons) == ["", "", "stalled"]


def test_as_many_files_at_a_time_as_allowed_and_no_more(tmp_path: Path) -> None:
    mirror = Mirror()
    uids = [f"uid{i:02d}" for i in range(12)]
    mirror.publish([annotation(uid) for uid in uids], dict.fromkeys(uids, glb_bytes(tmp_path)))
    for uid in uids:
        mirror.faults[mirror.address(uid)] = ["slow"]
    with serve(mirror):
        source = open_assets("objaverse", 0, None, None, downloads_of(tmp_path, mirror, parallel=3))
        items = list(list_assets(source, 1))
        preparation = source.preparation()
        assert preparation is not None
        with ThreadPoolExecutor(preparation.threads_of_worker(1)) as threads:
            assert prepare_items(items, preparation.make_preparer(), threads) == {}
    assert mirror.most_at_once == 3


def test_what_fails_to_come_is_a_record_of_the_stage_download(tmp_path: Path, mirror: Mirror) -> None:
    mirror.faults[mirror.address("aaa")] = [503, 503]
    del mirror.files[mirror.address("ccc")]
    source = open_assets("objaverse", 0, None, None, downloads_of(tmp_path, mirror))
    preparation = source.preparation()
    assert preparation is not None
    with ThreadPoolExecutor(2) as threads:
        failures = prepare_items(list_assets(source, 1), preparation.make_preparer(), threads)
    found = {key: (failure.stage, failure.reason, failure.attempts) for key, failure in failures.items()}
    assert found == {"aaa": ("download", "http_error", 2), "ccc": ("download", "not_found", 1)}


@pytest.mark.parametrize("keep", [True, False])
def test_files_are_kept_or_not(keep: bool, tmp_path: Path, mirror: Mirror) -> None:
    source = open_assets("objaverse", 0, None, None, downloads_of(tmp_path, mirror, keep=keep))
    preparation = source.preparation()
    assert preparation is not None
    preparer = preparation.make_preparer()
    for item in list_assets(source, 1):
        preparer.prepare(item)
        preparer.release(item)
        preparer.release(item)
    assert len(list((tmp_path / "cache").rglob("*.glb"))) == (3 if keep else 0)


def test_a_file_that_was_there_before_is_nobodys_to_delete(tmp_path: Path, mirror: Mirror) -> None:
    source = ObjaverseAssets("objaverse", 0, Selection(), downloads_of(tmp_path, mirror, keep=False))
    items = list(list_assets(source, 1))
    theirs = source.cache.path(items[0].spec["file"])
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_bytes(mirror.files[mirror.address(items[0].key)])
    preparation = source.preparation()
    assert preparation is not None
    preparer = preparation.make_preparer()
    for item in items:
        preparer.prepare(item)
        source.local(item, cast(BlenderWorker, None))
        preparer.release(item)
    source.close()
    assert list((tmp_path / "cache").rglob("*.glb")) == [theirs]


def test_workers_that_delete_each_others_files_all_read_whole_ones(tmp_path: Path, mirror: Mirror) -> None:
    """Each has a cache of its own over the same folder, as processes have; several items show one asset."""
    downloads = downloads_of(tmp_path, mirror, keep=False)
    sources = [ObjaverseAssets("objaverse", 0, Selection(), downloads) for _ in range(4)]
    items = list(list_assets(sources[0], 4))
    whole = mirror.files[mirror.address("aaa")]

    def work(source: ObjaverseAssets) -> list[bool]:
        preparation = source.preparation()
        assert preparation is not None
        preparer, found = preparation.make_preparer(), []
        for item in items:
            preparer.prepare(item)
            path, sha256 = source.local(item, cast(BlenderWorker, None))
            preparer.release(item)
            found.append(path.read_bytes() == whole and sha256 == hashlib.sha256(whole).hexdigest())
        return found

    with ThreadPoolExecutor(len(sources)) as threads:
        assert all(all(found) for found in threads.map(work, sources))
    held = [source.scratch.path("x").parent.parent for source in sources]
    for source in sources:
        source.close()
    assert not any(folder.exists() for folder in held)
    assert not list((tmp_path / "cache").rglob("*.glb"))


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_deleted_before_it_is_read_is_fetched_again(
    links: bool, tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ObjaverseAssets("objaverse", 0, Selection(), downloads_of(tmp_path, mirror))
    (item, *_) = source.items()
    get, deleted = source.cache.glb, []

    def deleted_by_another(name: str, address: str, sha256: str = "") -> Path:
        path = get(name, address, sha256)
        if len(deleted) < 2:
            path.unlink()
            deleted.append(name)
        return path

    def refuse(own: Path, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(path)
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(source.cache, "glb", deleted_by_another)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path, _ = source.local(item, cast(BlenderWorker, None))
    assert len(deleted) == 2
    kept = source.cache.path(item.spec["file"])
    assert path.read_bytes() == kept.read_bytes()
    assert path.samefile(kept) == links
    monkeypatch.setattr(source.cache, "glb", lambda *of: tmp_path / "gone")
    with pytest.raises(ItemFailure, match="is deleted from the cache"):
        source.local(item, cast(BlenderWorker, None))
    source.close()


def test_files_of_a_group_are_released_together(tmp_path: Path, mirror: Mirror) -> None:
    config = dataclasses.replace(
        render_config(tmp_path, mirror),
        objects_per_scene=(2, 2),
        device="cpu",
        download=downloads_of(tmp_path, mirror, keep=False),
    )
    job = data_job(config)
    assert job.preparation is not None
    preparer = job.preparation.make_preparer()
    (scene, *_) = job.list_items()
    preparer.prepare(scene)
    assert len(list((tmp_path / "cache").rglob("*.glb"))) == 2
    preparer.release(scene)
    assert not list((tmp_path / "cache").rglob("*.glb"))


def test_the_command_line_and_its_file_say_the_same(tmp_path: Path) -> None:
    flags = ["--assets=objaverse", "--out=out", "--objaverse.licences", "by", "by-sa", "--objaverse.sample=5"]
    flags += ["--objaverse.split=held-out", "--download.parallel=3", "--download.no-keep", "--objaverse.tags", "fox"]
    config = parse(Config, flags, prog="fourreal render")
    assert config.objaverse == Selection(licences=("by", "by-sa"), sample=5, split="held-out", tags=("fox",))
    assert (config.download.parallel, config.download.keep) == (3, False)
    (tmp_path / "config.yaml").write_text(as_yaml(config))
    assert parse(Config, [f"--config={tmp_path / 'config.yaml'}"], prog="fourreal render") == config


def render_config(tmp_path: Path, mirror: Mirror, out: str = "out") -> Config:
    return Config(
        assets="objaverse",
        out=str(tmp_path / out),
        views=2,
        times=2,
        height=24,
        width=32,
        samples=1,
        items_per_shard=1,
        workers=1,
        download=downloads_of(tmp_path, mirror),
    )


def test_all_clips_are_planned_by_the_number_that_is_published(tmp_path: Path) -> None:
    mirror = Mirror()
    counts = {"aaa": 3, "bbb": 1, "ccc": None}
    mirror.publish([annotation(uid, animationCount=count) for uid, count in counts.items()], {})
    with serve(mirror):
        source = open_assets("objaverse", 0, None, None, downloads_of(tmp_path, mirror))
        items = {clips: list(list_assets(source, 1, (clips,))) for clips in ("all", "longest", "Walk")}
    assert sorted(item.key for item in items["all"]) == ["aaa-00", "aaa-01", "aaa-02", "bbb", "ccc"]
    assert {item.key: item.spec.get("clip_index") for item in items["all"]}["aaa-02"] == 2
    assert sorted(item.key for item in items["longest"]) == UIDS
    assert {item.spec["clip"] for item in items["Walk"]} == {"Walk"}
    assert not any("animations" in item.spec for planned in items.values() for item in planned)


@pytest.mark.blender
def test_a_planned_clip_is_found_in_the_file_or_there_is_none_of_its_number(tmp_path: Path) -> None:
    """The fox has three clips and four animations published; the truck's two animations are one motion."""
    mirror = Mirror()
    parts = Glb()
    for name in ("left", "right"):
        parts.animate(name, parts.node(), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    glbs = {"fox": fox(tmp_path / "fox.glb"), "truck": parts.write(tmp_path / "truck.glb")}
    files = {uid: path.read_bytes() for uid, path in glbs.items()} | {"broken": b"glTF"}
    counts = {"fox": 4, "truck": 2, "broken": 2}
    mirror.publish([annotation(uid, animationCount=count) for uid, count in counts.items()], files)
    with serve(mirror):
        config = dataclasses.replace(
            render_config(tmp_path, mirror), clips=("all",), filters=Filters(min_colour_spread=0)
        )
        renderer = Renderer(config)
        ended: dict[str, str] = {}
        try:
            for item in list_assets(renderer.source, 1, config.clips):
                try:
                    ended[item.key] = str(renderer.process(item).meta.provenance["clip"])
                except ItemFailure as failure:
                    ended[item.key] = failure.reason
        finally:
            renderer.close()
    assert ended == {
        **{"fox-00": "Survey", "fox-01": "Run", "fox-02": "Walk", "fox-03": "no_such_clip"},
        **{"truck-00": "left", "truck-01": "no_such_clip"},
        **{"broken-00": "truncated", "broken-01": "truncated"},
    }


@pytest.fixture
def one_ray() -> Iterator[None]:
    """A session that several runs use."""
    with ray_session(1):
        yield


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.blender
def test_from_the_mirror_to_grids_that_name_their_makers(tmp_path: Path, mirror: Mirror, one_ray: None) -> None:
    mirror.faults[mirror.address("bbb")] = ["truncate"] * 2
    config = render_config(tmp_path, mirror)
    summary = run(config)
    out = Storage(config.out)
    assert (summary.grids, dict(summary.quarantined)) == (2, {"truncated": 1})
    (record,) = list_quarantine(out)
    assert (record.key, record.stage, record.attempts) == ("bbb", "download", 2)
    for grid in read_grids(out):
        meta = grid.meta
        assert (meta.licence, meta.source_uri) == ("CC-BY-4.0", f"https://sketchfab.com/3d-models/{meta.key}")
        assert meta.provenance["attribution"]["author"] == "Ann Author"
        assert meta.provenance["attribution"]["title"] == f"Title of {meta.key}"
        assert len(meta.source_sha256) == 64
    card = out.read("README.md").decode()
    for line in (
        "| CC-BY-4.0 | 2 |",
        "| truncated | 1 |",
        "| seed | 0 |",
        "| objaverse.min_animations | 1 |",
        "| objaverse | 0.1.7 |",
    ):
        assert line in card
    table = list(csv.DictReader(io.StringIO(out.read("attribution.csv").decode())))
    assert {row["key"]: row["author"] for row in table} == {"aaa": "Ann Author", "ccc": "Ann Author"}

    healed = run(dataclasses.replace(config, retry_quarantined=True))
    assert (healed.grids, healed.made_now, dict(healed.quarantined)) == (3, 1, {})
    assert "every planned item became a grid" in out.read("README.md").decode()
    asked = sum(mirror.asked.values())
    run(render_config(tmp_path, mirror, "again"))
    assert sum(mirror.asked.values()) == asked, "the cache has it all"
    for name in sorted(path.name for path in (tmp_path / "out").glob("shard-*")):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_published_checksum_is_the_sources(tmp_path: Path, mirror: Mirror) -> None:
    mirror.publish_table("sketchfab", [row("aaa", mirror.files[mirror.address("bbb")])])
    for source in ("github", "smithsonian"):
        mirror.publish_table(source, [])
    (item,) = list_assets(open_assets("objaverse-xl", 0, None, None, downloads_of(tmp_path, mirror)), 1)
    assert len(item.spec["sha256"]) == 64
