from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.datagen.clip_scenes import texture

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
        ({"magnitude": 3.0}, "--magnitude must be between"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
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
    config = Config(
        videos=str(videos), out=f"{s3_bucket}/out", views=3, times=4, height=32, width=48, clips_per_video=2
    )
    summary = run(config)
    assert (summary.grids, dict(summary.quarantined)) == (3, {"unreadable": 1})
    out = Storage(config.out)
    grids = [grid.decode() for grid in read_grids(out)]
    assert {grid.meta.provenance["family"] for grid in grids} <= {"affine", "homography"}
    assert all(grid.meta.source_sha256 and grid.homographies is not None for grid in grids)
    (bad,) = list_quarantine(out)
    assert (bad.stage, bad.source.endswith("text.mp4")) == ("decode", True)
    assert b"clips_per_video: 2" in out.read("config.yaml")


def test_real_videos_become_grids(shared_data: Path) -> None:
    config = Config(videos=str(shared_data / "video"), out="unused", clips_per_video=2)
    synthesizer = Synthesizer(config)
    kept, reasons = 0, set()
    for item in list_windows(config.videos, config.timing, 2):
        try:
            grid = synthesizer.process(item)
        except ItemFailure as failure:
            reasons.add(failure.reason)
        else:
            kept += 1
            assert grid.frames.shape == (8, 8, 96, 160, 3)
    assert kept >= 4
    assert reasons <= {"flat", "static", "fade", "dark"}
