from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from tests.datagen.moving_pictures import number_of, numbered_frames, write_timed

from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.hdr import HLG, PQ, tone_map
from fourreal.datagen.videos.reader import ClipReader
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.timing import Timing

TWO = Timing(times=2, stride=1)


def _clip(path: Path) -> Clip:
    (item,) = list_windows(str(path), TWO, 1)
    return ClipReader(TWO).read(item)


def _corners(height: int = 96, width: int = 160) -> np.ndarray:
    """A picture whose four corners differ: red, green, blue, white."""
    picture = np.full((height, width, 3), 90, np.uint8)
    h, w = height // 3, width // 3
    picture[:h, :w], picture[:h, -w:], picture[-h:, :w], picture[-h:, -w:] = (
        [200, 40, 40],
        [40, 200, 40],
        [40, 40, 200],
        [220, 220, 220],
    )
    return picture


def _psnr(one: np.ndarray, two: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / (np.mean((one.astype(float) - two) ** 2) + 1e-9)))


def _write_still(path: Path, picture: np.ndarray, **options: object) -> None:
    write_timed(path, np.repeat(picture[None], 4, axis=0), [0, 40, 80, 120], **options)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_as_the_file_says(tmp_path: Path, degrees: int) -> None:
    _write_still(tmp_path / "turned.mp4", _corners(), rotation=degrees)
    clip = _clip(tmp_path)
    expected = np.rot90(_corners(), degrees // 90)  # counterclockwise, as FFmpeg's -display_rotation
    assert clip.size == expected.shape[1::-1]
    assert _psnr(clip.images()[0], expected) > 28
    assert clip.images(40, 30).shape == (2, 30, 40, 3)


@pytest.mark.parametrize("size", [(160, 96), (120, 72), (81, 49), (62, 37)])
def test_scaling_changes_no_grey_level(tmp_path: Path, size: tuple[int, int]) -> None:
    """swscale's fast way to RGB gives two levels too little at most widths."""
    _write_still(tmp_path / "grey.mkv", np.full((96, 160, 3), 128, np.uint8), codec="ffv1", pix_fmt="yuv420p")
    clip = _clip(tmp_path)
    assert np.abs(clip.images(*size).astype(int) - 128).max() <= 1
    assert np.abs(clip.greys(max(size), 4).astype(int) - 128).max() <= 1


def test_pixels_become_square(tmp_path: Path) -> None:
    _write_still(tmp_path / "wide.mp4", _corners(), sample_aspect_ratio=Fraction(4, 3))
    assert _clip(tmp_path).size == (160, 72)
    _write_still(tmp_path / "wide.mp4", _corners(), sample_aspect_ratio=Fraction(3, 4))
    assert _clip(tmp_path).size == (120, 96)


def test_odd_sizes_keep_every_line(tmp_path: Path) -> None:
    _write_still(tmp_path / "odd.mkv", _corners(97, 161), codec="ffv1", pix_fmt="yuv444p")
    clip = _clip(tmp_path)
    assert clip.size == (161, 97)
    assert _psnr(clip.images()[0], _corners(97, 161)) > 35


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv444p12le", "gbrp10le", "gray", "rgb24"])
def test_deep_colour_and_grey_are_read(tmp_path: Path, pixel_format: str) -> None:
    name, codec = ("deep.mov", "png") if pixel_format == "rgb24" else ("deep.mkv", "ffv1")
    _write_still(tmp_path / name, _corners(), codec=codec, pix_fmt=pixel_format)
    expected = _corners()
    if pixel_format == "gray":
        expected = np.repeat((expected @ [0.299, 0.587, 0.114])[..., None], 3, axis=-1)
    assert _psnr(_clip(tmp_path).images()[0], expected) > 28


def test_pictures_of_any_size_show_the_same_part_without_the_bars(tmp_path: Path) -> None:
    frames = np.full((4, 120, 192, 3), 8, np.uint8)
    frames[:, 20:100, 32:160] = numbered_frames(4, 128, 80, dark=60)
    write_timed(tmp_path / "bars.mp4", frames, [0, 40, 80, 120])
    clip = _clip(tmp_path)
    assert clip.size == (124, 76)
    whole, small = clip.images(), clip.images(64, 38)
    reference = cv2.resize(whole[0], (64, 38), interpolation=cv2.INTER_AREA).astype(float)
    assert number_of(clip.images(120, 76)[1]) == 1
    assert np.abs(small[0] - reference).mean() < 1.5


def _as_hdr(picture: np.ndarray, transfer: int) -> np.ndarray:
    """An ordinary picture on an HDR screen, white at 203 nits: `[H, W, 3]` signal in 0 to 1, BT.2020.

    The forward formulas of BT.2100 (the code under test has the inverse ones).
    """
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    nits = 203 * (picture / 255.0) ** 2.4 @ to_2020.T
    if transfer == PQ:
        power = (nits / 10000) ** 0.1593017578125
        return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)
    light = nits / 1000
    scene = light * np.maximum(light @ [0.2627, 0.678, 0.0593], 1e-9)[..., None] ** (1 / 1.2 - 1)
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-6)) + 0.55991073,
    )


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_high_dynamic_range_looks_as_its_ordinary_original(tmp_path: Path, transfer: int) -> None:
    original = _corners()
    signal = np.round(_as_hdr(original, transfer) * 1023).astype(np.uint16)
    with av.open(str(tmp_path / "hdr.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv444p10le"
        stream.codec_context.color_primaries, stream.codec_context.color_trc = 9, transfer
        stream.codec_context.colorspace, stream.codec_context.color_range = 9, 1
        luma = signal @ [0.2627, 0.678, 0.0593]
        blue, red = (signal[..., 2] - luma) / 1.8814, (signal[..., 0] - luma) / 1.4746
        planes = (64 + luma * 876 / 1023, 512 + blue * 896 / 1023, 512 + red * 896 / 1023)
        for i in range(4):
            frame = av.VideoFrame(160, 96, "yuv444p10le")
            for plane, values in zip(frame.planes, planes, strict=True):
                rows = np.zeros((96, plane.line_size // 2), np.uint16)
                rows[:, :160] = np.round(values)
                plane.update(rows.tobytes())
            frame.pts, frame.time_base = 40 * i, Fraction(1, 1000)
            frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, 9, 9, 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    shown = _clip(tmp_path).images()[0].astype(float)
    below_knee = original.max(axis=-1) < 225
    assert np.abs(shown - original)[below_knee].mean() < 1.5
    washed_out = signal / 1023 * 255
    assert np.abs(washed_out - original)[below_knee].mean() > 15


def test_light_above_white_is_rolled_off_and_keeps_its_order() -> None:
    signal = np.repeat(np.linspace(0, 65535, 200).astype(np.uint16)[:, None], 3, axis=1)
    for transfer in (PQ, HLG):
        shown = tone_map(signal, transfer).astype(int)
        assert np.all(np.diff(shown[:, 0]) >= 0)
        assert shown[0].tolist() == [0, 0, 0]
        assert shown[-1].min() > 250
        assert len(np.unique(shown[100:, 0])) > 20


def test_no_line_of_a_bar_is_left_however_small_the_picture(tmp_path: Path) -> None:
    frames = np.full((4, 500, 640, 3), 0, np.uint8)
    frames[:, 61:439, 83:557] = 200
    write_timed(tmp_path / "bars.mp4", frames, [0, 40, 80, 120])
    clip = _clip(tmp_path)
    for width, height in ((55, 37), (31, 21), clip.size):
        assert clip.images(width, height).min() > 190
