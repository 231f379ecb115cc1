from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.datagen.clip_scenes import texture
from tests.datagen.moving_pictures import write_sound

from fourreal.datagen.synthesize import Config, Synthesizer, main, run
from fourreal.datagen.videos.scan import list_windows
from fourreal.platform import video
from fourreal.platform.datajob import ItemFailure, list_quarantine
from fourreal.platform.errors import UserError
from fourreal.platform.shards import read_grids
from fourreal.platform.storage import Storage


def _write_video(path: Path, frames: int = 40, width: int = 128, height: int = 80) -> None:
    stack = np.repeat(texture(frames, height, width)[None].astype(np.uint8), frames, axis=0)
    for t in range(frames):
        stack[t, 20:60, 2 * t : 2 * t + 40] = texture(7, 40, 40)
    path.parent.mkdir(parents=True, exist_ok=True)
    video.write_video(path, stack, fps=10)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    _write_video(folder / "one.mp4")
    _write_video(folder / "deep" / "two.MP4", frames=10)
    (folder / "notes.txt").write_text("no video")
    (folder / "text.mp4").write_text("no video either")
    return folder


def test_a_grid_follows_from_the_item_and_the_settings_alone(videos: Path) -> None:
    config = Config(videos=str(videos), out="unused", views=3, times=4, height=32, width=48)
    items = [i for i in list_windows(str(videos), config.timing, 3) if i.spec["name"] == "one.mp4"]
    used, fresh = Synthesizer(config), Synthesizer(config)
    used.process(items[0])
    one, two = used.process(items[1]), fresh.process(items[1])
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.homographies, two.homographies)  # type: ignore[arg-type]
    assert one.meta == two.meta
    assert one.frames.shape == (3, 4, 32, 48, 3)
    assert one.meta.fps == 5.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "--views must be at least 1"),
        ({"height": 2}, "at least 8"),
        ({"workers": 0}, "--workers must be at least 1, not 0"),
        ({"workers": -2}, "--workers must be at least 1, not -2"),
        ({"items_per_shard": 0}, "--items-per-shard must be at least 1, not 0"),
        ({"magnitude": (0.5, 3.0)}, "--magnitude takes two numbers, 0 <= LOW <= HIGH <= 2, not 0.5 3.0"),
        ({"depth_ratio": (1.8, 1.2)}, "--depth-ratio takes two numbers"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Config(videos="videos", out="out", **options)  # type: ignore[arg-type]


def test_a_folder_without_videos_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none").mkdir()
    assert main(["--videos", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "there is no video in" in capsys.readouterr().err
    assert not (tmp_path / "out" / "plan.parquet").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_the_job_makes_grids_of_good_files_and_quarantines_bad_ones(videos: Path, s3_bucket: str) -> None:
    write_sound(videos / "sound.mp4")
    os.mkfifo(videos / "pipe.mp4")
    os.mkfifo(videos / "one.txt")
    config = Config(
        videos=str(videos), out=f"{s3_bucket}/out", views=3, times=4, height=32, width=48, clips_per_video=2
    )
    summary = run(config)
    assert (summary.grids, dict(summary.quarantined)) == (3, {"unreadable": 1, "no_video": 1, "not_a_file": 1})
    out = Storage(config.out)
    grids = [grid.decode() for grid in read_grids(out)]
    assert {grid.meta.provenance["family"] for grid in grids} <= {"affine", "homography"}
    assert all(grid.meta.source_sha256 and grid.homographies is not None for grid in grids)
    bad = {Path(one.source).name: (one.stage, one.reason) for one in list_quarantine(out)}
    assert bad["text.mp4"] == ("decode", "unreadable")
    assert set(bad) == {"text.mp4", "sound.mp4", "pipe.mp4"}
    assert b"clips_per_video: 2" in out.read("config.yaml")


def _has_dark_border(frames: np.ndarray) -> bool:
    """Whether an outermost line of a view of `[V, T, H, W, 3]` stays black while the picture begins behind it."""
    for view in frames.max(axis=(1, 4)):
        for side in (view, view[::-1], view.T, view.T[::-1]):
            rim, inside = np.median(side[0]), np.median(side[4])
            if rim < 10 and inside > rim + 10:
                return True
    return False


def _has_cut(frames: np.ndarray) -> bool:
    """Whether one step in time changes a view by far more than the others do."""
    steps = np.abs(np.diff(frames.astype(np.int16), axis=1)).mean(axis=(2, 3, 4))
    return bool(np.any(steps.max(axis=1) > 3.0 * np.median(steps, axis=1)))


def test_real_videos_become_grids_without_dark_borders_and_cuts(shared_data: Path) -> None:
    config = Config(videos=str(shared_data / "video"), out="unused", clips_per_video=4)
    synthesizer = Synthesizer(config)
    kept, reasons, last = 0, set(), None
    for item in list_windows(config.videos, config.timing, 4):
        try:
            grid = synthesizer.process(item)
        except ItemFailure as failure:
            reasons.add(failure.reason)
        else:
            kept += 1
            assert grid.frames.shape == (8, 8, 96, 160, 3)
            assert not _has_dark_border(grid.frames), item.key
            assert not _has_cut(grid.frames), item.key
            if last is not None and last.meta.source_uri != grid.meta.source_uri:  # what is looked for would be seen
                assert _has_cut(np.concatenate([last.frames[:, 4:], grid.frames[:, :4]], axis=1))
            last = grid
    assert kept >= 6
    assert reasons <= {"flat", "static", "fade", "dark", "cut"}
    assert last is not None
    bordered = np.full_like(last.frames, 90)
    assert not _has_dark_border(bordered)
    bordered[3, :, :, -1] = 0
    assert _has_dark_border(bordered)


def _with_mask(folder: Path) -> Config:
    """A video of a textured red block that moves, and its mask."""
    folder.mkdir(parents=True, exist_ok=True)
    stack = np.repeat(texture(0, 80, 128)[None].astype(np.uint8), 40, axis=0)
    mask = np.zeros_like(stack)
    block = texture(7, 40, 40).astype(np.uint8)
    block[..., 0], block[..., 2] = 230, 20
    for t in range(40):
        stack[t, 20:60, 2 * t : 2 * t + 40] = block
        mask[t, 20:60, 2 * t : 2 * t + 40] = 255
    video.write_video(folder / "masked.mp4", stack, fps=10)
    video.write_video(folder / "masked.mask.mp4", mask, fps=10)
    return Config(videos=str(folder), out="unused", views=4, times=4, height=32, width=48, family="parallax")


def test_parallax_keeps_its_layers_homographies_and_the_foregrounds_mask(tmp_path: Path) -> None:
    config = _with_mask(tmp_path)
    (item, *_) = list_windows(config.videos, config.timing, 3)
    grid = Synthesizer(config).process(item)
    far, near = grid.meta.provenance["layers"]
    assert 1.2 <= near["inverse_depth"] / far["inverse_depth"] <= 1.8
    assert grid.homographies is not None
    np.testing.assert_allclose(np.array(far["homographies"]), grid.homographies[:, 0])
    assert not np.allclose(near["homographies"], far["homographies"], atol=1e-2)
    assert grid.mask is not None
    assert grid.mask.max() > 200
    red = grid.frames[..., 0].astype(int) - grid.frames[..., 2]
    assert red[grid.mask > 250].mean() > 100  # the block, in all views
    assert red[grid.mask == 0].max() < 90  # and nowhere else


def test_parallax_without_a_mask_or_depth_says_what_is_missing(videos: Path) -> None:
    config = Config(videos=str(videos), out="unused", views=3, times=4, height=32, width=48, family="parallax")
    item = next(i for i in list_windows(str(videos), config.timing, 3) if i.spec["name"] == "one.mp4")
    with pytest.raises(ItemFailure, match=r"needs one.depth.npy or one.mask.mp4 beside .*--family mixed") as failure:
        Synthesizer(config).process(item)
    assert (failure.value.stage, failure.value.reason) == ("layers", "no_layers")


def test_mixed_uses_parallax_only_where_there_are_layers(tmp_path: Path, videos: Path) -> None:
    config = replace(_with_mask(tmp_path / "with"), family="mixed")
    (item, *_) = list_windows(config.videos, config.timing, 1)
    plain = next(i for i in list_windows(str(videos), config.timing, 1) if i.spec["name"] == "one.mp4")
    families: dict[str, set[str]] = {"masked.mp4": set(), "one.mp4": set()}
    for seed in range(12):
        synthesizer = Synthesizer(replace(config, seed=seed))
        for one in (item, plain):
            families[str(one.spec["name"])].add(str(synthesizer.process(one).meta.provenance["family"]))
    assert families == {"masked.mp4": {"affine", "homography", "parallax"}, "one.mp4": {"affine", "homography"}}


@pytest.mark.parametrize("flat", ["empty", "full", "depth"])
def test_mixed_makes_a_planar_grid_where_nothing_is_in_front(tmp_path: Path, flat: str) -> None:
    config = replace(_with_mask(tmp_path), family="mixed")
    if flat == "depth":
        np.save(tmp_path / "masked.depth.npy", np.full((40, 8, 8), 3.0, np.float32))
    else:
        mask = np.full((40, 80, 128, 3), 255 if flat == "full" else 0, np.uint8)
        video.write_video(tmp_path / "masked.mask.mp4", mask, fps=10)
    (item,) = list_windows(config.videos, config.timing, 1)
    with pytest.raises(ItemFailure) as failure:
        Synthesizer(replace(config, family="parallax")).process(item)
    assert failure.value.reason == "flat"
    families = []
    for seed in range(12):
        grid, again = (Synthesizer(replace(config, seed=seed)).process(item) for _ in range(2))
        families.append(grid.meta.provenance["family"])
        assert np.array_equal(grid.frames, again.frames)
        assert grid.mask is None
    assert set(families) == {"affine", "homography"}
    np.save(tmp_path / "masked.depth.npy", np.zeros((40, 8, 8), np.float32))  # that is no depth, and is told
    reasons = set()
    for seed in range(12):
        try:
            Synthesizer(replace(config, seed=seed)).process(item)
        except ItemFailure as bad:
            reasons.add(bad.reason)
    assert reasons == {"bad_depth"}


def test_augmented_grids_say_what_was_done_to_them(videos: Path) -> None:
    config = Config(videos=str(videos), out="unused", views=3, times=4, height=32, width=48)
    item = next(i for i in list_windows(str(videos), config.timing, 1) if i.spec["name"] == "one.mp4")
    for seed in range(8):
        plain = Synthesizer(replace(config, seed=seed)).process(item)
        flipped = Synthesizer(replace(config, seed=seed, augment=("flip",))).process(item)
        applied = flipped.meta.provenance["augmented"]
        expected = plain.frames[..., ::-1, :] if applied else plain.frames
        assert applied in ([], ["flip"])
        assert np.array_equal(flipped.frames, expected)
    assert plain.meta.provenance["augmented"] == []


def test_the_magnitude_is_drawn_for_each_grid_and_kept(videos: Path) -> None:
    config = Config(videos=str(videos), out="unused", views=3, times=4, height=32, width=48, magnitude=(0.4, 0.9))
    item = next(i for i in list_windows(str(videos), config.timing, 4) if i.spec["name"] == "one.mp4")
    drawn = {Synthesizer(replace(config, seed=s)).process(item).meta.provenance["magnitude"] for s in range(4)}
    assert len(drawn) == 4
    assert all(0.4 <= magnitude <= 0.9 for magnitude in drawn)
