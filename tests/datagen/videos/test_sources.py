from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tests.datagen.moving_pictures import write_numbered

from fourreal.datagen.videos.reader import ClipReader
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.sources import VideoSource, find_videos
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

FOUR = Timing(times=4, stride=2)


def _files(videos: Path) -> dict[str, bytes]:
    return {str(p.relative_to(videos)): p.read_bytes() for p in sorted(videos.rglob("*")) if p.is_file()}


def _tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    write_numbered(folder / "one.mp4", 10)
    write_numbered(folder / "deep" / "two.MP4", 12)
    (folder / "one.txt").write_text(" a wave \n")
    (folder / "deep" / "two.json").write_text(json.dumps({"caption": "a second wave", "id": 4}))
    (folder / "notes.txt").write_text("no video")
    return folder


def _captions(videos: str) -> dict[str, str]:
    return {source.stem: source.caption for source in find_videos(videos)}


def test_a_folder_is_searched_to_any_depth_with_captions(videos: Path) -> None:
    assert _captions(str(videos)) == {"two": "a second wave", "one": "a wave"}


def test_a_list_names_videos_one_a_line(videos: Path) -> None:
    listing = videos.parent / "list.txt"
    listing.write_text(f"# of interest\nvideos/one.mp4\n\n{videos}/deep/two.MP4\nvideos/gone.mp4\n")
    assert _captions(str(listing)) == {"one": "a wave", "two": "a second wave", "gone": ""}
    gone = list(list_windows(str(listing), FOUR, 1))[-1]
    with pytest.raises(ItemFailure, match=r"gone\.mp4: No such file") as failure:
        ClipReader(FOUR).read(gone)
    assert failure.value.reason == "not_found"


def test_members_of_webdataset_shards_are_read_in_place(videos: Path, tmp_path: Path) -> None:
    files = _files(videos)
    shards = tmp_path / "shards"
    shards.mkdir()
    members = {"a.mp4": files["one.mp4"], "a.json": b'{"caption": "in a tar"}', "sub/b.c.MP4": files["deep/two.MP4"]}
    _tar(shards / "0.tar", members | {"sub/b.txt": b"deep in a tar"})
    (shards / "1.tar").write_bytes(b"not a tar" * 200)
    for where in (shards, shards / "0.tar"):
        items = [item for item in list_windows(str(where), FOUR, 1) if item.spec["sha256"] and item.spec["member"]]
        assert [item.spec["caption"] for item in items] == ["in a tar", "deep in a tar"]
        reader = ClipReader(FOUR)
        loose = {item.spec["sha256"]: item for item in list_windows(str(videos), FOUR, 1)}
        for item in items:
            twin = loose[item.spec["sha256"]]
            assert np.array_equal(reader.read(item).images(), ClipReader(FOUR).read(twin).images())
    (bad,) = [item for item in list_windows(str(shards), FOUR, 1) if item.source.endswith("1.tar")]
    with pytest.raises(ItemFailure, match=r"1\.tar is no readable video"):
        ClipReader(FOUR).read(bad)


def test_object_stores_and_lists_of_their_addresses(videos: Path, tmp_path: Path, s3_bucket: str) -> None:
    bucket = Storage(s3_bucket)
    for name, data in _files(videos).items():
        bucket.write(f"set/{name}", data)
    assert _captions(f"{s3_bucket}/set") == {"two": "a second wave", "one": "a wave"}
    listing = tmp_path / "list.txt"
    listing.write_text(f"{s3_bucket}/set/one.mp4\n{videos}/deep/two.MP4\n")
    items = list(list_windows(str(listing), FOUR, 1))
    assert [item.spec["caption"] for item in items] == ["a wave", "a second wave"]
    (local,) = [i for i in list_windows(str(videos), FOUR, 1) if i.spec["sha256"] == items[0].spec["sha256"]]
    assert np.array_equal(ClipReader(FOUR).read(items[0]).images(), ClipReader(FOUR).read(local).images())


def test_identical_files_are_planned_once(videos: Path) -> None:
    (videos / "copy.mp4").write_bytes((videos / "one.mp4").read_bytes())
    assert [Path(item.source).name for item in list_windows(str(videos), FOUR, 1)] == ["copy.mp4", "two.MP4"]


def test_what_cannot_be_read_is_planned_once_however_often_it_is_listed(videos: Path) -> None:
    listing = videos.parent / "list.txt"
    listing.write_text("videos/gone.mp4\nvideos/one.mp4\nvideos/lost.mp4\nvideos/gone.mp4\nvideos/one.mp4\n")
    items = list(list_windows(str(listing), FOUR, 1))
    assert [Path(item.source).name for item in items] == ["gone.mp4", "one.mp4", "lost.mp4"]


def _reason(item: Item) -> str:
    with pytest.raises(ItemFailure) as failure:
        ClipReader(FOUR).read(item)
    return failure.value.reason


def test_pipes_and_folders_named_like_videos_do_not_hang(tmp_path: Path) -> None:
    write_numbered(tmp_path / "folder.mp4" / "inside.mp4", 10)
    os.mkfifo(tmp_path / "pipe.mp4")
    items = {Path(item.source).name: item for item in list_windows(str(tmp_path), FOUR, 1)}
    assert set(items) == {"folder.mp4", "pipe.mp4", "inside.mp4"}
    assert _reason(items["pipe.mp4"]) == _reason(items["folder.mp4"]) == "not_a_file"


def test_links_in_a_circle_end(videos: Path) -> None:
    (videos / "deep" / "back").symlink_to(videos)
    assert len({source.stem for source in find_videos(str(videos))}) == 2


@pytest.mark.parametrize("name", ["", "missing", "missing.txt"])
def test_where_there_is_no_video_it_says_what_to_give(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"--videos names a folder|give a folder"):
        list(find_videos(str(tmp_path / name)))


def test_the_spec_of_a_source_survives_json() -> None:
    source = VideoSource("folder", "a.tar", 512, 7, "b.mp4", "words", "CC0-1.0", {"author": "Ann"})
    assert VideoSource.from_spec(json.loads(json.dumps(source.spec()))) == source


def test_a_pipe_a_link_to_nothing_or_nonsense_beside_a_video_says_nothing(tmp_path: Path) -> None:
    for name in ("link", "nested", "pipe"):
        write_numbered(tmp_path / "videos" / f"{name}.mp4", 10)
    folder = tmp_path / "videos"
    os.mkfifo(folder / "pipe.txt")
    (folder / "pipe.json").write_text('{"caption": "after a pipe"}')
    (folder / "link.txt").symlink_to(tmp_path / "nowhere")
    (folder / "nested.json").write_text("[" * 65000)
    data = _files(folder)
    _tar(folder / "z.tar", {"inside.mp4": data["link.mp4"] + b"\0", "inside.json": data["nested.json"]})
    expected = {"link": "", "nested": "", "pipe": "after a pipe", "inside": ""}
    assert _captions(str(folder)) == expected
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"{folder}/{name}\n" for name in ("link.mp4", "nested.mp4", "pipe.mp4", "z.tar")))
    assert _captions(str(listing)) == expected


def test_a_tar_that_cannot_be_opened_is_one_bad_item(videos: Path) -> None:
    os.mkfifo(videos / "pipe.tar")
    items = {Path(item.source).name: item for item in list_windows(str(videos), FOUR, 1)}
    assert set(items) == {"one.mp4", "two.MP4", "pipe.tar"}
    assert _reason(items["pipe.tar"]) == "not_a_file"
    listing = videos.parent / "list.txt"
    listing.write_text("videos/gone.tar\nvideos/one.mp4\n")
    gone, one = list_windows(str(listing), FOUR, 1)
    assert _reason(gone) == "not_found"
    assert ClipReader(FOUR).read(one).times_s


@pytest.mark.parametrize("name", ["notes.txt", "a.mask.mp4", "a.depth.npy"])
def test_a_folder_with_one_file_that_is_no_video_has_none(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("no video")
    with pytest.raises(UserError, match="there is no video in"):
        list(find_videos(str(tmp_path)))


def test_a_prefix_with_one_object_that_is_no_video_has_none(s3_bucket: str) -> None:
    Storage(s3_bucket).write("alone/notes.txt", b"no video")
    with pytest.raises(UserError, match="there is no video in"):
        list(find_videos(f"{s3_bucket}/alone"))
