"""Objaverse's files come whole or with a reason, from a server that misbehaves."""

from __future__ import annotations

import gzip
import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.datagen.objaverse_mirror import FIRST, XL, Mirror, annotation, glb_bytes, row, serve

from fourreal.datagen.objaverse import package
from fourreal.datagen.objaverse.cache import Cache
from fourreal.datagen.objaverse.catalogue import first_objects, xl_objects
from fourreal.datagen.objaverse.http import DownloadFailure
from fourreal.datagen.objaverse.settings import Downloads
from fourreal.datagen.objaverse.verify import check_glb
from fourreal.platform.errors import UserError

NAME = "hf-objaverse-v1/glbs/000-000/cube.glb"
ADDRESS = f"{FIRST}/glbs/000-000/cube.glb"


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serve(Mirror()) as mirror:
        yield mirror


@pytest.fixture
def data(tmp_path: Path, mirror: Mirror) -> bytes:
    """A .glb of 64 KiB, published."""
    mirror.files[ADDRESS] = glb_bytes(tmp_path, 65536)
    return mirror.files[ADDRESS]


def cache_of(tmp_path: Path, mirror: Mirror, **changes: object) -> Cache:
    quick = Downloads(cache=str(tmp_path / "cache"), url=mirror.url, backoff_s=0.01, attempts=3)
    limits = replace(quick, read_timeout_s=0.8, stall_window_s=0.8, min_bytes_per_s=100_000, timeout_s=5.0)
    return Cache(replace(limits, **changes))  # type: ignore[arg-type]


def failure_of(cache: Cache, sha256: str = "") -> DownloadFailure:
    with pytest.raises(DownloadFailure) as caught:
        cache.glb(NAME, ADDRESS, sha256)
    return caught.value


@pytest.mark.parametrize("fault", [503, 500, 429, "truncate", "silence", "trickle", "other"])
def test_what_may_pass_is_tried_again_until_the_file_is_right(
    fault: int | str, tmp_path: Path, mirror: Mirror, data: bytes
) -> None:
    mirror.faults[ADDRESS] = [fault, fault]
    cache = cache_of(tmp_path, mirror)
    path = cache.glb(NAME, ADDRESS, hashlib.sha256(data).hexdigest())
    assert path.read_bytes() == data
    assert mirror.asked[ADDRESS] == 3
    assert os.listdir(path.parent) == ["cube.glb"]
    cache.glb(NAME, ADDRESS)
    assert mirror.asked[ADDRESS] == 3, "what is in the cache is not downloaded again"


@pytest.mark.parametrize(
    ("fault", "reason", "times"),
    [
        (404, "not_found", 1),
        (410, "not_found", 1),
        (403, "http_error", 1),
        (503, "http_error", 3),
        ("truncate", "truncated", 3),
        ("silence", "stalled", 3),
        ("trickle", "stalled", 3),
        ("other", "checksum", 3),
    ],
)
def test_a_file_that_never_comes_ends_in_a_reason_and_leaves_nothing(
    fault: int | str, reason: str, times: int, tmp_path: Path, mirror: Mirror, data: bytes
) -> None:
    mirror.faults[ADDRESS] = [fault] * 9
    cache = cache_of(tmp_path, mirror)
    start = time.monotonic()
    failure = failure_of(cache, hashlib.sha256(data).hexdigest())
    assert (failure.reason, failure.attempts) == (reason, times)
    assert mirror.asked[ADDRESS] == times
    assert time.monotonic() - start < 30.0
    assert not [path for path in cache.folder.rglob("*") if path.is_file()]


def test_an_attempt_has_an_end_though_bytes_keep_coming(tmp_path: Path, mirror: Mirror, data: bytes) -> None:
    mirror.faults[ADDRESS] = ["trickle"]
    failure = failure_of(cache_of(tmp_path, mirror, attempts=1, timeout_s=0.3))
    assert failure.reason == "timeout"


def test_a_server_that_cannot_be_reached_and_one_that_says_when(tmp_path: Path, mirror: Mirror, data: bytes) -> None:
    gone = failure_of(cache_of(tmp_path, mirror, url="http://127.0.0.1:9"))
    assert (gone.reason, gone.attempts) == ("http_error", 3)
    mirror.faults[ADDRESS] = [503]
    mirror.headers[ADDRESS] = {"Retry-After": "1"}
    start = time.monotonic()
    cache_of(tmp_path, mirror).glb(NAME, ADDRESS)
    assert time.monotonic() - start >= 1.0


def test_a_checksum_that_the_server_states_counts(tmp_path: Path, mirror: Mirror, data: bytes) -> None:
    mirror.headers[ADDRESS] = {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"'}
    mirror.faults[ADDRESS] = ["other"]
    assert cache_of(tmp_path, mirror).glb(NAME, ADDRESS).read_bytes() == data
    assert mirror.asked[ADDRESS] == 2


@pytest.mark.parametrize("broken", [b"", b"glTF", b"<html>", "half", "long", "no json"])
def test_a_broken_file_is_seen_and_healed(broken: bytes | str, tmp_path: Path, mirror: Mirror, data: bytes) -> None:
    cache = cache_of(tmp_path, mirror)
    path = cache.path(NAME)
    path.parent.mkdir(parents=True)
    made = {"half": data[:30000], "long": data + bytes(4), "no json": data[:20] + b"?" + data[21:]}
    path.write_bytes(made[broken] if isinstance(broken, str) else broken)
    with pytest.raises(DownloadFailure):
        check_glb(path)
    assert cache.glb(NAME, ADDRESS).read_bytes() == data


def test_what_a_killed_process_left_is_swept_up_later(tmp_path: Path, mirror: Mirror, data: bytes) -> None:
    cache = cache_of(tmp_path, mirror)
    folder = cache.path(NAME).parent
    folder.mkdir(parents=True)
    old, new = folder / ".cube.glb.old.tmp", folder / ".cube.glb.new.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.glb(NAME, ADDRESS)
    assert sorted(os.listdir(folder)) == [".cube.glb.new.tmp", "cube.glb"]


def test_many_at_a_time_download_each_file_once(tmp_path: Path, mirror: Mirror, data: bytes) -> None:
    mirror.faults[ADDRESS] = ["slow"]
    cache = cache_of(tmp_path, mirror)
    with ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _: cache.glb(NAME, ADDRESS), range(8)))
    assert len(paths) == 1
    assert mirror.asked[ADDRESS] == 1


def test_a_name_cannot_leave_the_folder_and_a_folder_that_takes_nothing_is_a_reason(
    tmp_path: Path, mirror: Mirror, data: bytes
) -> None:
    for name in ("../x.glb", "/etc/x.glb", "a/../../x.glb", "."):
        with pytest.raises(ValueError, match="leaves the folder"):
            cache_of(tmp_path, mirror).glb(name, ADDRESS)
    (tmp_path / "cache").write_text("a file")
    assert failure_of(cache_of(tmp_path, mirror)).reason == "disk"


def _everything(tmp_path: Path, mirror: Mirror) -> None:
    data = glb_bytes(tmp_path)
    uids = ["aaa", "bbb", "ccc"]
    mirror.publish([annotation(uid) for uid in uids], dict.fromkeys(uids, data))
    mirror.publish_table("sketchfab", [row(uid, data) for uid in uids])
    for source in ("github", "smithsonian"):
        mirror.publish_table(source, [])


def test_half_written_metadata_are_healed(tmp_path: Path, mirror: Mirror) -> None:
    _everything(tmp_path, mirror)
    cache = cache_of(tmp_path, mirror)
    whole = list(xl_objects(cache, lambda uid: True))
    assert [found.uid for found in whole] == ["aaa", "ccc", "bbb"]
    files = [path for path in cache.folder.rglob("*") if path.is_file()]
    assert len(files) == 6
    for path in files:
        path.write_bytes(path.read_bytes()[:-9])
    assert list(xl_objects(cache_of(tmp_path, mirror), lambda uid: True)) == whole
    asked = sum(mirror.asked.values())
    assert asked == 12
    assert list(xl_objects(cache_of(tmp_path, mirror), lambda uid: True)) == whole
    assert sum(mirror.asked.values()) == asked
    mirror.faults[f"{FIRST}/metadata/000-000.json.gz"] = [503]
    cache.path("hf-objaverse-v1/metadata/000-000.json.gz").write_bytes(gzip.compress(b'{"aaa": {}')[:-4])
    assert len(list(first_objects(cache, lambda uid: True))) == 3


def test_the_package_itself_takes_our_folder_for_its_own(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    objaverse = pytest.importorskip("objaverse")
    from objaverse.xl.sketchfab import SketchfabDownloader

    _everything(tmp_path, mirror)
    mirror.publish_lvis({"cube": ["bbb"]})
    cache = cache_of(tmp_path, mirror)
    for found in xl_objects(cache, lambda uid: True):
        cache.glb(found.name, found.address, found.sha256)
    cache.get(package.LVIS, package.address_of(package.LVIS), lambda path: None)
    monkeypatch.setattr(objaverse, "_VERSIONED_PATH", str(cache.folder / package.FIRST))
    for proxy in ("http_proxy", "https_proxy"):  # whatever it wanted to download would fail
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    assert objaverse.load_annotations(["bbb"])["bbb"]["name"] == "Title of bbb"
    assert objaverse.load_lvis_annotations() == {"cube": ["bbb"]}
    paths = objaverse.load_objects(["aaa", "bbb", "ccc"])
    assert [Path(paths[uid]).exists() for uid in ("aaa", "bbb", "ccc")] == [True] * 3
    folder = str(cache.folder)
    assert set(SketchfabDownloader.get_full_annotations(["aaa"], folder)) == {"aaa"}
    table = SketchfabDownloader.get_annotations(folder)
    assert len(SketchfabDownloader.download_objects(table, folder)) == 3
    assert str(Path(objaverse.BASE_PATH)) == os.path.expanduser(Downloads().cache)


def test_a_mirror_is_named_by_the_environment_or_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert Downloads().url == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.test/hf")
    assert Downloads().url == "http://mirror.test/hf"
    with pytest.raises(UserError, match="write it with http"):
        Downloads(url="mirror.test")


def test_a_mirror_may_lie_below_a_path(tmp_path: Path, mirror: Mirror, data: bytes) -> None:
    mirror.files[f"some/where/{ADDRESS}"] = data
    cache_of(tmp_path, mirror, url=f"{mirror.url}/some/where").glb(NAME, ADDRESS)
    assert mirror.asked == {f"some/where/{ADDRESS}": 1}


def test_xl_names_its_tables_as_published() -> None:
    assert package.table_of("github") == ("github/github.parquet", f"{XL}/github/github.parquet")
