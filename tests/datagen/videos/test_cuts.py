from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector
from tests.datagen.clip_scenes import texture
from tests.datagen.moving_pictures import write_timed

from fourreal.datagen.videos.cuts import SMALL_SIZE, CutDetector
from fourreal.datagen.videos.reader import ClipReader
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.video import VideoDecoder

_SHOTS = {
    "hiker": [(0, 49)],
    "nasa_13013": [(0, 122), (155, 200), (204, 325)],  # a dissolve and a cut between them
    "clip_10s": [(30, 75), (176, 213), (215, 240)],  # fades, a cut
}
"""Frames of the real videos that are surely of one shot each, found by looking at them."""


@functools.cache
def _decode(path: Path, width: int, height: int) -> np.ndarray:
    decoder = VideoDecoder(path)
    frames = [f.image.to_ndarray(format="rgb24", width=width, height=height) for f in decoder.frames()]
    decoder.close()
    return np.stack(frames)


def _shots(shared_data: Path, width: int, height: int) -> list[np.ndarray]:
    videos = {name: _decode(shared_data / "video" / f"{name}.mp4", width, height) for name in _SHOTS}
    return [videos[name][first:end] for name, parts in _SHOTS.items() for first, end in parts]


def _find(frames: np.ndarray) -> list[int]:
    detector = CutDetector()
    return [cut for frame in frames for cut in detector.push(np.ascontiguousarray(frame))] + detector.finish()


def test_hard_cuts_are_those_of_pyscenedetect() -> None:
    """Shots of one to nine frames that move at random, some of them alike."""
    rng = np.random.default_rng(0)
    width, height = SMALL_SIZE
    shots = []
    for seed in range(40):
        picture = texture(seed % 25, 2 * height, 2 * width)
        place = rng.uniform(0, height / 2, 2)
        for _ in range(int(rng.integers(1, 10))):
            place = np.clip(place + rng.normal(0, 1.5, 2), 0, height - 1)
            y, x = place.astype(int)
            shots.append(picture[y : y + height, x : x + width].round().astype(np.uint8))
    theirs = AdaptiveDetector(adaptive_threshold=3.0, min_content_val=14.0, min_scene_len=1, window_width=2)
    padded = [shots[0]] * 2 + shots + [shots[-1]] * 2
    expected = [
        int(cut.frame_num) - 2
        for number, frame in enumerate(padded)
        for cut in theirs.process_frame(FrameTimecode(number, fps=25.0), frame)
    ]
    detector = CutDetector()
    hard = [cut for frame in padded for cut in detector._show(frame)]
    assert hard == expected
    assert 15 < len(hard) < 40


def test_nothing_is_found_in_single_shots(shared_data: Path) -> None:
    for shot in _shots(shared_data, *SMALL_SIZE):
        for faster in (1, 2, 3):
            assert _find(shot[::faster]) == []


def test_every_splice_is_found_where_it_is(shared_data: Path) -> None:
    rng = np.random.default_rng(0)
    shots = _shots(shared_data, *SMALL_SIZE)
    shots += [shot[:, :, ::-1] for shot in shots]
    false = 0
    for _ in range(100):
        one, two = (shots[i] for i in rng.choice(len(shots), 2, replace=False))
        length = int(rng.integers(1, 12))  # also right after the beginning, and right before the end
        first = int(rng.integers(0, len(one) - length))
        found = _find(np.concatenate([one[first : first + length], two[: int(rng.integers(1, 12))]]))
        assert length in found
        false += len(set(found) - {length})
    assert false <= 2


@pytest.mark.parametrize("length", [8, 16, 24])
@pytest.mark.parametrize("to_black", [True, False])
def test_dissolves_and_fades_are_found(shared_data: Path, length: int, to_black: bool) -> None:
    """A clip that begins well before their middle and ends well after crosses a cut."""
    rng = np.random.default_rng(length)
    shots = _shots(shared_data, *SMALL_SIZE)
    tried = missed = 0
    for one in shots:
        for two in shots:
            if one is not two and min(len(one), len(two)) > length:
                weight = np.linspace(0, 1, length + 1)[:, None, None, None]
                start = int(rng.integers(0, len(one) - length))
                a, b = one[start : start + length + 1], 0 * one[: length + 1] if to_black else two[: length + 1]
                mixed = (a * (1 - weight) + b * weight).round().astype(np.uint8)
                if np.abs(mixed[-1].astype(int) - mixed[0]).mean() > 15:
                    found = _find(
                        np.concatenate([np.repeat(a[:1], 8, axis=0), mixed, np.repeat(mixed[-1:], 8, axis=0)])
                    )
                    tried += 1
                    missed += not any(8 < cut <= 8 + length for cut in found)
    assert tried >= 6
    assert missed <= 0.1 * tried


def test_the_real_dissolve_and_fade_are_found(shared_data: Path) -> None:
    nasa = _find(_decode(shared_data / "video" / "nasa_13013.mp4", *SMALL_SIZE))
    assert {127, 202} < set(nasa)
    assert set(nasa) - {202} <= set(range(126, 153))
    assert len(set(nasa)) > 15
    fade = _find(_decode(shared_data / "video" / "clip_10s.mp4", *SMALL_SIZE))
    assert len({cut for cut in fade if 75 < cut < 105}) > 15
    assert 214 in fade


def test_no_clip_of_spliced_real_videos_crosses_a_cut(shared_data: Path, tmp_path: Path) -> None:
    shots = [shot[:32] for shot in _shots(shared_data, 160, 96)]
    order = [0, 4, 2, 5, 1, 6, 3, 0, 5, 2]
    lengths = [32, 20, 17, 30, 19, 25, 32, 9, 22, 28]
    spliced = np.concatenate([shots[i][:n] for i, n in zip(order, lengths, strict=True)])
    write_timed(tmp_path / "spliced.mp4", spliced, [40 * i for i in range(len(spliced))])
    bounds = np.cumsum([0, *lengths])
    timing = Timing(times=8, stride=2)
    reader, found, reasons = ClipReader(timing), 0, []
    for item in list_windows(str(tmp_path), timing, 12):
        try:
            times_s = reader.read(item).times_s
        except ItemFailure as failure:
            reasons.append(failure.reason)
            continue
        first, last = round(25 * times_s[0]), round(25 * times_s[-1])
        assert last == first + 14
        assert np.searchsorted(bounds, first, "right") == np.searchsorted(bounds, last, "right")
        found += 1
    assert found >= 3
    assert set(reasons) == {"cut"}
