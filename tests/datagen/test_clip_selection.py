"""Statistics of clips, and which clips are refused for them: scenes of which it is known what they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.datagen.clip_scenes import H, Thing, W, crop_bars, grey_of, greys_of, scene, shrunk

from fourreal.datagen.selection.filters import ClipFilters
from fourreal.datagen.selection.judge import ClipJudge
from fourreal.datagen.selection.look import blur
from fourreal.datagen.selection.motion import motion_statistics
from fourreal.datagen.selection.overlay import text_share
from fourreal.datagen.selection.still_scenes import StillScenes
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.video import read_frames

Clip = np.ndarray
WALKER = Thing((90, 70), 28, velocity=(2.0, 1.0))


def reason_of(clip: Clip, **settings: float) -> str:
    try:
        ClipJudge(ClipFilters(**settings), 96, 160, still=StillScenes()).judge(greys_of(grey_of(clip)), len(clip))
    except ItemFailure as failure:
        return f"without a flag: {failure.message}" if "--filters." not in failure.message else failure.reason
    return "kept"


def motion_of(**settings: Any) -> dict[str, float]:
    return motion_statistics(shrunk(grey_of(scene(**settings)), 256))


@cache
def walk() -> Clip:
    return scene(pan=(1.0, 0.0), things=(WALKER,))


def subtitled(clip: Clip, colour: tuple[int, int, int] = (245, 245, 245), outline: bool = True) -> Clip:
    clip = clip.copy()
    height, width = clip.shape[1:3]
    text, scale, thick = "She never came back, they said.", height / 400, max(1, round(height / 200))
    (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    place = ((width - wide) // 2, int(0.92 * height))
    for frame in clip:
        if outline:
            cv2.putText(frame, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thick + 2, cv2.LINE_AA)
        cv2.putText(frame, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)
    return clip


def with_logo(clip: Clip) -> Clip:
    clip = clip.copy()
    for frame in clip:
        cv2.circle(frame, (W - 28, 26), 20, (250, 250, 250), -1, cv2.LINE_AA)
        cv2.putText(frame, "4D", (W - 43, 33), cv2.FONT_HERSHEY_DUPLEX, 0.7, (200, 30, 30), 2, cv2.LINE_AA)
    return clip


@pytest.mark.parametrize(
    ("settings", "camera_pixels"),
    [({}, 0.0), ({"pan": (3.0, 0.5)}, np.hypot(3.0, 0.5)), ({"pan": (10.0, 0.0)}, 10.0), ({"things": (WALKER,)}, 0.0)],
)
def test_the_cameras_motion_is_measured_whatever_moves(settings: dict[str, Any], camera_pixels: float) -> None:
    found = motion_of(**settings)
    assert found["camera_share"] * H == pytest.approx(camera_pixels, abs=0.05)
    assert found["shake_share"] * H < 0.1


def test_motion_is_split_between_the_camera_and_the_scene() -> None:
    pan, walker = motion_of(pan=(3.0, 0.0)), motion_of(things=(WALKER,))
    assert pan["p95_share"] * H == pytest.approx(3.0, abs=0.1)
    assert pan["residual_share"] * H < 0.2
    assert walker["residual_share"] * H == pytest.approx(np.hypot(2.0, 1.0), abs=0.1)
    assert motion_of()["p95_share"] < 0.001  # noise is no motion
    assert motion_of(shake=2.0)["shake_share"] * H > 2.0
    assert walker["inlier_share"] < 0.92
    assert pan["inlier_share"] > 0.98


def test_what_cannot_be_followed_is_not_said_to_stand_still() -> None:
    noise = np.random.default_rng(0).normal(128, 40, (4, H, W))
    assert motion_statistics(np.clip(noise, 0, 255).astype(np.uint8))["tracked_share"] < 0.1
    plain = motion_statistics(np.full((4, H, W), 90, np.uint8))
    assert plain["textured_share"] == plain["tracked_share"] == 0.0
    assert motion_statistics(np.full((1, H, W), 90, np.uint8))["p95_share"] == 0.0


def degraded() -> dict[str, Callable[[], Clip]]:
    cut = np.concatenate([walk()[:4], scene(seed=9, pan=(1.0, 0.0))[:4]])
    return {
        "kept": walk,
        "dark": lambda: (walk() * 0.08).astype(np.uint8),
        "bright": lambda: (255 - (255 - walk()) * 0.15).astype(np.uint8),
        "flat": lambda: (120 + walk() * 0.08).astype(np.uint8),
        "blurred": lambda: np.stack([cv2.GaussianBlur(frame, (0, 0), 0.03 * H) for frame in walk()]),
        "fade": lambda: np.stack([(f * (1 - 0.08 * t)).astype(np.uint8) for t, f in enumerate(walk())]),
        "flicker": lambda: np.stack([(f * (1.0 if t % 2 else 0.8)).astype(np.uint8) for t, f in enumerate(walk())]),
        "text": lambda: subtitled(walk(), outline=False),
        "overlay": lambda: with_logo(scene(pan=(2.0, 1.0))),
        "static": scene,
        "shaky": lambda: scene(shake=3.0),
        "untrackable": lambda: cut,
        "fast_camera": lambda: scene(pan=(20.0, 0.0)),
    }


@pytest.mark.parametrize("reason", degraded())
def test_a_degraded_clip_is_refused_with_its_reason(reason: str) -> None:
    clip = degraded()[reason]()
    assert reason_of(clip) == reason
    off = {f.name: 0.0 if f.name.startswith("min") else 1e9 for f in fields(ClipFilters)}
    assert reason_of(clip, **off) == "kept"


def test_a_clip_of_one_time_is_not_static() -> None:
    assert reason_of(walk()[:1]) == "kept"
    assert reason_of(subtitled(walk()[:1], outline=False)) == "text"  # which is no motion


def test_blur_does_not_depend_on_light_and_grows_with_the_radius() -> None:
    sharp = shrunk(grey_of(walk()), 160)[0]
    radii = [blur(cv2.GaussianBlur(sharp, (0, 0), radius)) for radius in (0.5, 1.0, 2.0, 4.0)]
    assert radii == sorted(radii)
    assert blur((sharp * 0.3).astype(np.uint8)) == pytest.approx(blur(sharp), abs=0.05)


@pytest.fixture
def real_clips(shared_data: Path) -> dict[str, Clip]:
    clips = {}
    for path in sorted((shared_data / "video").glob("*.mp4")):
        frames = np.stack(list(read_frames(path)))
        clips |= {f"{path.stem}-{i}": crop_bars(frames[i : i + 15 : 2]) for i in range(0, len(frames) - 15, 45)}
    return clips


def test_subtitles_are_found_on_real_videos_and_nothing_else_is(real_clips: dict[str, Clip]) -> None:
    title_cards = {"clip_10s-90", "clip_10s-135"}
    scenes = {name: clip for name, clip in real_clips.items() if name not in title_cards}
    share = {name: text_share(greys_of(grey_of(clip))(480, 3)) for name, clip in scenes.items()}
    assert max(share.values()) <= ClipFilters.max_text, share
    for colour in ((245, 245, 245), (240, 220, 40)):
        found = [
            text_share(greys_of(grey_of(subtitled(c, colour)))(480, 3)) > ClipFilters.max_text for c in scenes.values()
        ]
        assert np.mean(found) >= 0.9


def test_real_clips_are_refused_for_what_people_see_in_them(real_clips: dict[str, Clip]) -> None:
    reasons = {name: reason_of(clip) for name, clip in real_clips.items()}
    assert reasons["nasa_13013-0"] == "static"  # nothing in it moves by more than a pixel
    assert reasons["nasa_13013-225"] == "kept"  # very dark, and the camera moves in
    assert reasons["nasa_13013-135"] == "fade"  # a dissolve
    assert reasons["clip_10s-0"] == "flat"  # fog
    assert reasons["clip_10s-45"] == reasons["hiker-0"] == reasons["clip_10s-180"] == "kept"
    assert reasons["clip_10s-135"] == "dark"  # a title card
