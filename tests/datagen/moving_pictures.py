"""Videos written by tests: frames that tell their own number, in containers of every kind."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from fourreal.platform import video

_BITS = 8


def numbered_frames(count: int, width: int = 128, height: int = 80, first: int = 0, dark: int = 40) -> np.ndarray:
    """`[N, H, W, 3]`: a still wave, and above it the frame's number in eight dark or bright fields."""
    y, x = np.mgrid[0:height, 0:width]
    wave = 127 + 60 * np.sin(0.1 * x + 0.05 * y)
    frames = np.repeat(np.stack([wave] * 3, axis=-1)[None], count, axis=0)
    for i in range(count):
        for bit in range(_BITS):
            columns = slice(bit * width // _BITS, (bit + 1) * width // _BITS)
            frames[i, : height // 4, columns] = 180 if (first + i) >> bit & 1 else dark
    return frames.astype(np.uint8)


def number_of(frame: np.ndarray) -> int:
    """The number that a frame of `numbered_frames` tells, whatever its size."""
    height, width = frame.shape[:2]
    fields = frame[: max(1, height // 6), :, 1].mean(axis=0).reshape(_BITS, -1) if width % _BITS == 0 else None
    assert fields is not None, "the width must be a multiple of eight"
    return sum(1 << bit for bit in range(_BITS) if fields[bit].mean() > 110)


def write_numbered(path: Path, count: int = 40, width: int = 128, height: int = 80, fps: float = 10) -> None:
    """An H.264 file of numbered frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    video.write_video(path, numbered_frames(count, width, height), fps=fps)


def write_timed(path: Path, frames: np.ndarray, times_ms: list[int], **options: object) -> None:
    """A file whose frames are shown at the times given (milliseconds); options of the stream's codec context."""
    codec = str(options.pop("codec", "libx264"))
    pixel_format = str(options.pop("pix_fmt", "yuv420p"))
    rotation = options.pop("rotation", None)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "12"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixel_format
        stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in options.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for image, time_ms in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_sound(path: Path) -> None:
    """A file without a video stream."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_header(path: Path) -> None:
    """A file that promises a video stream and has no frame of it."""
    with av.open(str(path), "w", options={"movflags": "empty_moov+frag_keyframe"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
