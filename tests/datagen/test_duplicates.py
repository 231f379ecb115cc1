"""Near-copies of videos are known by their key frames, and different videos are not taken for them."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.datagen.clip_scenes import Thing, grey_of, scene, texture

from fourreal.datagen.selection.duplicates import MOST_BITS, Print, _near, find_duplicates, mark_duplicates
from fourreal.datagen.selection.phash import phash
from fourreal.datagen.synthesize import Config, Synthesizer
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.video import read_frames, write_video

TIMING = Timing(times=4, stride=2)
DISTANCE = Config.duplicate_distance


def bits_between(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return (one ^ other).bit_count()


def grey_frames(shared_data: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in ("hiker", "nasa_13013", "clip_10s"):
        frames = list(read_frames(shared_data / "video" / f"{name}.mp4"))
        for number in (30, 45, 140, 170, 220):
            if number < len(frames):
                found[f"{name} {number}"] = cv2.cvtColor(frames[number], cv2.COLOR_RGB2GRAY)
    return {key: grey for key, grey in found.items() if phash(grey) is not None}


def test_copies_of_real_frames_share_their_hash_and_other_videos_do_not(shared_data: Path) -> None:
    frames = grey_frames(shared_data)
    assert len(frames) >= 8
    hashes = {name: phash(frame) for name, frame in frames.items()}
    for name, frame in frames.items():
        height, width = frame.shape
        _, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 20])
        copies = {
            "jpeg": cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE),
            "half": cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA),
            "4:3": cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA),
            "contrast": cv2.convertScaleAbs(frame, alpha=0.7, beta=10),
            "gamma": (255 * (frame / 255) ** 0.8).astype(np.uint8),
        }
        for kind, copy in copies.items():
            assert bits_between(hashes[name], phash(copy)) <= DISTANCE, (name, kind)
    for one, other in itertools.combinations(hashes, 2):
        if one.split()[0] != other.split()[0]:
            assert bits_between(hashes[one], hashes[other]) > DISTANCE + 8, (one, other)


def test_different_pictures_have_different_hashes_and_plain_ones_none() -> None:
    pictures = [cv2.cvtColor(texture(seed, 90, 160).astype(np.uint8), cv2.COLOR_RGB2GRAY) for seed in range(24)]
    distances = [bits_between(phash(a), phash(b)) for a, b in itertools.combinations(pictures, 2)]
    assert min(distances) > DISTANCE + 4
    assert phash(np.full((90, 160), 20, np.uint8)) is None


@pytest.mark.parametrize("distance", [0, 3, 7, MOST_BITS])
def test_the_search_finds_what_comparing_all_with_all_finds(distance: int) -> None:
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**64, 60, dtype=np.uint64).tolist()
    for value in list(hashes):  # copies with 0 to 14 bits flipped
        for count in rng.integers(0, 15, 4):
            hashes.append(value ^ sum(1 << int(bit) for bit in rng.choice(64, count, replace=False)))
    array = np.unique(np.array(hashes, np.uint64))
    near = _near(array, distance)
    values = array.tolist()
    for number, value in enumerate(values):
        expected = [other for other, v in enumerate(values) if (value ^ v).bit_count() <= distance]
        assert near.get(number, [number]) == expected


def test_the_search_is_far_from_comparing_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    from fourreal.datagen.selection import duplicates

    real = duplicates._bits_set
    monkeypatch.setattr(duplicates, "_bits_set", lambda values: (compared.append(len(values)), real(values))[1])
    hashes = np.unique(np.random.default_rng(0).integers(0, 2**64, 50_000, dtype=np.uint64))
    assert _near(hashes, 7) == {}
    assert sum(compared) < 0.002 * len(hashes) ** 2 / 2


def test_a_window_is_a_copy_when_all_its_hashes_are_of_one_earlier_file() -> None:
    a, b, c, d = 0x0F0F0F0F0F0F0F0F, 0x3333CCCC3333CCCC, 0x123456789ABCDEF0, 0xFFFF0000FFFF0000
    prints = [
        Print("one", (a, b)),
        Print("one", (b, c)),  # shares a key frame with its own file's first window
        Print("two", (a ^ 0b101, b ^ (1 << 60))),
        Print("three", (a, d)),  # begins like the first, and goes on otherwise
        Print("four", (c, b)),
        Print("five", ()),
        Print("six", ()),
        Print("seven", (a,)),  # one hash is no proof
        Print("eight", (d, c)),  # of two files, but of no single one
    ]
    assert find_duplicates(prints, 4) == [None, None, 0, None, 1, None, None, None, None]
    assert find_duplicates(prints, 1) == [None, None, None, None, 1, None, None, None, None]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    clips = {name: scene(pan=(1.0, 0.5), seed=seed, times=24) for name, seed in (("a", 1), ("other", 40))}
    write_video(folder / "a.mp4", clips["a"], fps=12)
    write_video(folder / "other.mp4", clips["other"], fps=12)
    smaller = [cv2.resize(frame, (192, 108), interpolation=cv2.INTER_AREA) for frame in clips["a"]]
    write_video(folder / "b-smaller.mp4", np.stack(smaller), fps=12)
    write_video(folder / "c-brighter.avi", cv2.convertScaleAbs(clips["a"].reshape(-1, 256, 3), alpha=0.8, beta=30)
                .reshape(clips["a"].shape), fps=12)  # fmt: skip
    (folder / "broken.mp4").write_text("no video")
    return folder


def test_copies_are_planned_and_go_to_quarantine_undecoded(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = mark_duplicates(list_windows(str(videos), TIMING, 2), DISTANCE)
    original = {item.spec["name"]: set() for item in items}
    for item in items:
        original[item.spec["name"]].add(str(item.spec.get("duplicate_of", "-"))[:2])
    assert original == {
        "a.mp4": {"-"},
        "b-smaller.mp4": {"a-"},
        "broken.mp4": {"-"},
        "c-brighter.avi": {"a-"},
        "other.mp4": {"-"},
    }
    assert [item.key for item in items] == [item.key for item in list_windows(str(videos), TIMING, 2)]
    synthesizer = Synthesizer(Config(videos=str(videos), out="unused", times=4, views=2, height=32, width=48))
    monkeypatch.setattr(synthesizer.reader, "read", lambda item: pytest.fail(f"{item.key} was decoded"))
    copy = next(item for item in items if "duplicate_of" in item.spec)
    with pytest.raises(ItemFailure, match=f"like {copy.spec['duplicate_of']}") as caught:
        synthesizer.process(copy)
    assert caught.value.reason == "duplicate"


@pytest.mark.parametrize("radius", [10, 14])
def test_other_things_before_the_same_background_are_no_copies(tmp_path: Path, radius: int) -> None:
    """The first frames are alike, and only they are key frames: what moves tells the clips apart."""
    away = Thing((-500, -500), 1)
    one = scene(things=(Thing((60, 70), radius, velocity=(4.0, 0.0)),), times=24, seed=3)
    other = scene(things=(away, Thing((180, 90), radius, velocity=(-3.0, -1.0))), times=24, seed=3)
    assert bits_between(phash(grey_of(one)[0]), phash(grey_of(other)[0])) <= DISTANCE + 2
    smaller = np.stack([cv2.resize(frame, (192, 108), interpolation=cv2.INTER_AREA) for frame in one])
    for name, clip in (("a", one), ("b", other), ("c", smaller), ("d", other[:1]), ("e", other[:1, ::2, ::2])):
        write_video(tmp_path / f"{name}.mp4", clip, fps=12)
    found = mark_duplicates(list_windows(str(tmp_path), TIMING, 1), DISTANCE + 2)
    assert {i.spec["name"]: str(i.spec.get("duplicate_of", "-"))[:2] for i in found} == {
        "a.mp4": "-",
        "b.mp4": "-",
        "c.mp4": "a-",
        "d.mp4": "-",  # a single frame moves nothing
        "e.mp4": "-",
    }


def test_the_search_can_be_turned_off_and_has_a_limit() -> None:
    assert Config(videos="v", out="o", duplicate_distance=None).duplicate_distance is None
    with pytest.raises(UserError, match="--duplicate-distance must be between 0 and 11"):
        Config(videos="v", out="o", duplicate_distance=12)
