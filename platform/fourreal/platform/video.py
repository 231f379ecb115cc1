"""Ordinary videos in and out, on PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt

from fourreal.platform.errors import UserError

Frame = npt.NDArray[np.uint8]
Source = str | Path | BinaryIO
"""A local path, or an open file (of an object store, say)."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video's container says of its first video stream."""

    width: int
    height: int
    fps: float
    frame_count: int
    """As the container says, or estimated from its duration; 0 when it says nothing."""


def probe(source: Source) -> VideoInfo:
    """Read what the container says. Raises UserError when the file cannot be read or has no video stream."""
    with _open(source) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate else 0.0
        duration_s = float(container.duration or 0) / av.time_base
        return VideoInfo(stream.width, stream.height, fps, stream.frames or round(duration_s * fps))


def read_frames(source: Source) -> Iterator[Frame]:
    """Decode the first video stream from its start: uint8 `[H, W, 3]` RGB frames, in order of presentation.

    One frame is held at a time. Raises UserError where the file cannot be read or decoded.
    """
    with _open(source) as container:
        container.streams.video[0].thread_type = "NONE"  # a data job has one process a core already
        try:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
        except av.FFmpegError as error:
            raise UserError(f"{_name(source)} cannot be decoded: {error.strerror}") from None


def write_video(path: str | Path, frames: Frame, fps: float) -> None:
    """Write uint8 `[N, H, W, 3]` RGB frames as H.264 in MP4 (4:2:0; odd sizes lose their last row or column)."""
    height, width = (n // 2 * 2 for n in frames.shape[1:3])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(fps), options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in frames:
            cropped = np.ascontiguousarray(image[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cropped, format="rgb24")))
        container.mux(stream.encode())


def _open(source: Source) -> av.container.InputContainer:
    try:
        container = av.open(str(source) if isinstance(source, Path) else source)
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{_name(source)} is no readable video: {error.strerror}") from None
    if not container.streams.video:
        container.close()
        raise UserError(f"{_name(source)} has no video stream")
    return container


def _name(source: Source) -> str:
    return str(getattr(source, "name", "the file")) if hasattr(source, "read") else str(source)
