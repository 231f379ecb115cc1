"""Still scenes before a moving camera: told from scenes that move, and made into freeze-time grids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.datagen.clip_scenes import Thing, crop_bars, grey_of, scene, shrunk

from fourreal.datagen.selection.motion import motion_statistics
from fourreal.datagen.selection.still_scenes import StillScenes
from fourreal.datagen.selection.tracks import DENSE, SPARSE
from fourreal.datagen.synthesize import Config, Synthesizer
from fourreal.datagen.videos.scan import list_windows
from fourreal.platform.codec import EncodedGrid, encode
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.video import read_frames, write_video

LAYERS = (Thing((70, 60), 30, 1.4), Thing((180, 90), 25, 2.0), Thing((120, 120), 20, 0.6))


def is_still(clip: np.ndarray) -> bool:
    grey = shrunk(grey_of(clip), 256)
    return all(StillScenes().holds(motion_statistics(grey, cell)) for cell in (SPARSE, DENSE))


@pytest.mark.parametrize("seed", [0, 10])
@pytest.mark.parametrize(
    "camera",
    [
        {"pan": (3.0, 0.5)},
        {"zoom": 0.01},
        {"turn": 0.01, "pan": (1.0, 0.0)},
        {"pan": (2.0, 0.3), "things": LAYERS},
        {"zoom": 0.01, "things": LAYERS},
        {"pan": (0.8, 0.0), "things": LAYERS},
    ],
    ids=["pan", "zoom", "turn", "pan with depth", "dolly with depth", "slow pan with depth"],
)
def test_a_still_scene_is_known_whatever_its_depth(camera: dict[str, Any], seed: int) -> None:
    assert is_still(scene(**camera, seed=seed))


@pytest.mark.parametrize("seed", [0, 10])
@pytest.mark.parametrize(
    ("pan", "thing"),
    [
        ((0.0, 0.0), Thing((90, 70), 28, velocity=(2.0, 0.0))),
        ((2.0, 0.0), Thing((90, 70), 28, velocity=(0.0, 1.5))),
        ((2.0, 0.0), Thing((90, 70), 28, velocity=(-4.0, 0.0))),
        ((2.0, 0.0), Thing((90, 70), 28, velocity=(2.0, 0.0))),
        ((2.0, 0.0), Thing((90, 70), 28, swing=6.0)),
        ((2.0, 0.0), Thing((90, 70), 10, velocity=(0.0, 0.7))),
    ],
    ids=["camera at rest", "across", "against", "followed by the camera", "swings", "small and slow"],
)
def test_something_that_moves_before_a_moving_camera_is_seen(pan: tuple[float, float], thing: Thing, seed: int) -> None:
    assert not is_still(scene(pan=pan, things=(thing,), seed=seed))
    assert not is_still(scene(pan=pan, things=(*LAYERS[1:], thing), seed=seed))


def test_a_still_picture_and_noise_are_no_still_scenes() -> None:
    assert not is_still(scene())
    assert not is_still(np.full((8, 90, 160, 3), 100, np.uint8))


def test_real_videos_of_people_are_no_still_scenes(shared_data: Path) -> None:
    for name in ("hiker.mp4", "clip_10s.mp4"):
        frames = np.stack(list(read_frames(shared_data / "video" / name)))
        assert not any(is_still(crop_bars(frames[i : i + 15 : 2])) for i in range(0, len(frames) - 15, 15))


def test_a_real_frame_that_a_camera_pans_over_is_a_still_scene(shared_data: Path) -> None:
    for name, number in (("hiker.mp4", 10), ("nasa_13013.mp4", 170), ("clip_10s.mp4", 195)):
        frame = list(read_frames(shared_data / "video" / name))[number]
        height, width = frame.shape[0] * 3 // 5, frame.shape[1] * 3 // 5
        step = frame.shape[1] // 60
        assert is_still(np.stack([frame[t : t + height, t * step : t * step + width] for t in range(8)])), name


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "still.mp4", scene(pan=(2.0, 0.3), things=LAYERS, times=9), fps=8)
    walker = Thing((90, 70), 28, velocity=(0.0, 2.0))
    write_video(folder / "walk.mp4", scene(pan=(2.0, 0.0), things=(walker,), times=9), fps=8)
    return folder


def made(videos: Path, **options: Any) -> dict[str, Any]:
    """Grid or reason by the video's name."""
    settings = {"views": 4, "times": 6, "height": 48, "width": 64, "stride": 1, **options}
    config = Config(videos=str(videos), out="unused", **settings)
    synthesizer = Synthesizer(config)

    def grid_or_reason(item: Item) -> Any:
        try:
            return synthesizer.process(item)
        except ItemFailure as failure:
            return failure.reason

    return {item.spec["name"]: grid_or_reason(item) for item in list_windows(config.videos, config.timing, 1)}


def test_a_still_scene_becomes_a_freeze_time_grid(videos: Path) -> None:
    grids = made(videos)
    still, walk = grids["still.mp4"], grids["walk.mp4"]
    assert (still.meta.kind, walk.meta.kind) == ("freeze_time", "dynamic")
    assert still.homographies is None
    assert still.frames.shape == (4, 6, 48, 64, 3)
    assert np.array_equal(still.frames, np.repeat(still.frames[:, :1], 6, axis=1))
    steps = np.abs(np.diff(still.frames[:, 0].astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert np.all(steps > 1.0)
    assert EncodedGrid(encode(still)).meta == still.meta


def test_still_scenes_can_be_skipped_or_be_all(videos: Path) -> None:
    assert made(videos, still_scenes="skip")["still.mp4"] == "still_scene"
    only = made(videos, still_scenes="only")
    assert (only["still.mp4"].meta.kind, only["walk.mp4"]) == ("freeze_time", "moving_scene")
    more_views = made(videos, views=8)["still.mp4"]
    assert (more_views.meta.kind, more_views.frames.shape[0]) == ("dynamic", 8)
    with pytest.raises(UserError, match="at least as many --times as --views"):
        made(videos, still_scenes="only", views=8)
