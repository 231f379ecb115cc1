from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from fourreal.platform.contact_sheet import contact_sheet, stack_sheets, write_png
from fourreal.platform.errors import UserError
from fourreal.platform.video import probe, read_frames, write_video


@pytest.fixture
def frames() -> np.ndarray:
    y, x = np.mgrid[0:48, 0:64]
    moving = [127 + 100 * np.sin(0.1 * (x + 3 * t)) * np.cos(0.1 * y) for t in range(12)]
    return np.stack([np.stack([m, m[::-1], 255 - m], axis=-1) for m in moving]).astype(np.uint8)


def test_a_written_video_is_read_back(tmp_path: Path, frames: np.ndarray) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, frames, fps=12)
    info = probe(path)
    assert (info.width, info.height, info.fps, info.frame_count) == (64, 48, 12.0, 12)
    back = np.stack(list(read_frames(path)))
    assert back.shape == frames.shape
    assert 10 * np.log10(255**2 / np.mean((back.astype(float) - frames) ** 2)) > 30
    from_memory = np.stack(list(read_frames(io.BytesIO(path.read_bytes()))))
    assert np.array_equal(from_memory, back)


def test_odd_sizes_lose_a_line(tmp_path: Path, frames: np.ndarray) -> None:
    write_video(tmp_path / "odd.mp4", frames[:, :47, :63], fps=12)
    assert (probe(tmp_path / "odd.mp4").width, probe(tmp_path / "odd.mp4").height) == (62, 46)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty.mp4").touch()
    for name in ("text.mp4", "empty.mp4", "missing.mp4"):
        with pytest.raises(UserError, match=name):
            probe(tmp_path / name)


def test_a_truncated_video_fails_with_a_sentence_or_gives_fewer_frames(tmp_path: Path, frames: np.ndarray) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, frames, fps=12)
    whole = path.read_bytes()
    for cut in (len(whole) // 3, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:cut])
        read = 0
        with contextlib.suppress(UserError):
            for _ in read_frames(path):
                read += 1
        assert read < len(frames)


def test_real_videos_decode_as_their_containers_say(shared_data: Path) -> None:
    for path in sorted((shared_data / "video").glob("*.mp4")):
        assert sum(1 for _ in read_frames(path)) == probe(path).frame_count


def test_a_contact_sheet_shows_views_downwards_and_times_to_the_right(tmp_path: Path) -> None:
    V, T = 3, 4
    frames = np.zeros((V, T, 10, 20, 3), np.uint8)
    frames[..., 0] = (50 * np.arange(V))[:, None, None, None]
    frames[..., 1] = (50 * np.arange(T))[None, :, None, None]
    sheet = contact_sheet(frames)
    assert sheet.shape == (V * 10 + 2 * 2, T * 20 + 3 * 2, 3)
    for v in range(V):
        for t in range(T):
            assert sheet[v * 12 + 5, t * 22 + 10].tolist() == [50 * v, 50 * t, 0]
    write_png(tmp_path / "sheet.png", stack_sheets([sheet, sheet[:, :50]], ["one", "two"]))
    import cv2

    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == sheet.shape[1] + 8


def test_large_grids_are_thinned_out_evenly() -> None:
    frames = np.zeros((20, 50, 4, 4, 3), np.uint8)
    frames[..., 0] = np.arange(50, dtype=np.uint8)[None, :, None, None]
    row = contact_sheet(frames, most=8)[0, :: 4 + 2, 0]
    assert row.tolist() == [0, 7, 14, 21, 28, 35, 42, 49]
