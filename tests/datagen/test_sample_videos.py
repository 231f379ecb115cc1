from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fourreal.datagen.sample_videos import Config, draw_video, main
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.errors import UserError
from fourreal.platform.video import probe


def test_a_video_follows_from_the_seed_and_its_number_alone(tmp_path: Path) -> None:
    config = Config(tmp_path, count=2, frames=6, height=32, width=48, seed=5)
    many = Config(tmp_path, count=9, frames=6, height=32, width=48, seed=5)
    assert np.array_equal(draw_video(config, 1), draw_video(many, 1))
    assert not np.array_equal(draw_video(config, 0), draw_video(config, 1))


@pytest.mark.parametrize("fps", [0.0, -24.0, 0.5, float("nan")])
def test_a_rate_below_one_frame_a_second_is_refused(fps: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--fps must be at least 1"):
        Config(tmp_path, fps=fps)


def test_something_moves_before_a_still_and_textured_background(tmp_path: Path) -> None:
    for index in range(4):
        frames = draw_video(Config(tmp_path, frames=12, height=64, width=96), index).astype(int)
        change = np.abs(frames[-1] - frames[0]).max(axis=-1)
        assert 0.01 < np.mean(change > 10) < 0.8
        assert frames[0].std() > 8


def test_the_files_are_videos_and_a_second_run_leaves_them_alone(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--count", "2", "--frames", "5", "--height", "32", "--width", "48"]
    assert main(arguments) == 0
    files = sorted(tmp_path.glob("*.mp4"))
    assert [(probe(f).frame_count, probe(f).width) for f in files] == [(5, 48), (5, 48)]
    before = [f.stat().st_mtime_ns for f in files]
    assert main(arguments) == 0
    assert [f.stat().st_mtime_ns for f in files] == before


def test_grids_of_them_may_be_used_by_anyone(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path), "--count", "1", "--frames", "40", "--height", "64", "--width", "96"]) == 0
    (window,) = list_windows(str(tmp_path), Timing(times=4, stride=2, fps=None), 1)
    assert window.spec["licence"] == "CC0-1.0"
