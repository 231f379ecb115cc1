"""Ordinary videos in and out, on PyAV."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt

from fourreal.platform.errors import UserError

Frame = npt.NDArray[np.uint8]
Source = str | Path | BinaryIO
"""A local path, or an open file (of an object store, say)."""

_WORTH_A_SEEK_S = 0.5
"""A seek costs about as much as decoding so much video."""
_FASTEST_FPS = 240
"""What claims more names the ticks of its clock."""
_MEASURED_PACKETS = 64


MOST_PIXELS = 8192 * 4608
"""Of a frame: what 8K needs. Larger ones are not decoded, since a decoder holds up to 16 of them."""


class NoVideoError(UserError):
    """The file has no video stream."""


class NoDecoderError(UserError):
    """The video's codec cannot be decoded here."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video's container says of its first video stream."""

    width: int
    height: int
    fps: float
    """Average over the file; 0 when it says nothing."""
    frame_count: int
    """As the container says, or estimated from its duration; 0 when it says nothing."""
    duration_s: float
    """0 when it says nothing."""
    pixel_aspect: Fraction
    """Width of a pixel over its height."""


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame as the codec gives it."""

    time_s: float
    """When it is shown, from the start of the stream."""
    image: av.VideoFrame
    after_damage: bool
    """Whether packets before it could not be decoded: what came before does not go on here."""


class VideoDecoder:
    """Decodes the first video stream, forwards, in order of presentation.

    Packets that cannot be decoded are passed over, and frames up to the next key frame with them, since they build
    on what is missing. One frame is held at a time.
    """

    def __init__(self, source: Source) -> None:
        """Open the file. Raises UserError when it cannot be read or has no video stream."""
        self._container = open_video(source)
        self._name = _name(source)
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.options |= {"err_detect": "bitstream+buffer+explode"}
        self.info = _info(self._container)
        self._frames = self._decode()
        self.position_s = -math.inf
        """Time of the last frame given; there is no way back."""
        self.read_until_s = 0.0
        """Time of the last packet, whether it could be decoded or not."""
        self.is_damaged = False
        """Whether frames are being left out, since packets before them could not be decoded."""
        self._tick_s = float(self._stream.time_base)
        self._start_s = (self._stream.start_time or 0) * self._tick_s

    def close(self) -> None:
        """Close the file (and not the source that was handed over open)."""
        self._container.close()

    def frames(self, start_s: float = -math.inf, end_s: float = math.inf) -> Iterator[DecodedFrame]:
        """Frames from `start_s` until before `end_s`; a later call goes on after the last frame given.

        It seeks where the file's index shows a key frame on the way; the frames are the same either way. Raises
        UserError where nothing more can be decoded and the end is not reached.
        """
        if self._is_key_frame_between(self.position_s, start_s):
            self._seek(start_s)
        for frame in self._frames:
            if frame.time_s >= end_s:
                self._frames = itertools.chain([frame], self._frames)
                return
            self.position_s = frame.time_s
            if frame.time_s >= start_s:
                yield frame

    def _is_key_frame_between(self, low_s: float, high_s: float) -> bool:
        """Whether the index knows of a key frame there, far enough from both ends to be worth it."""
        index = self._stream.index_entries
        if not len(index) or not math.isfinite(high_s):
            return False
        number = index.search_timestamp(self._timestamp(high_s), backward=True)
        if number < 0:
            return False
        key_s = float(index[number].timestamp * self._stream.time_base) - self._start_s
        return key_s > max(low_s, 0.0) + _WORTH_A_SEEK_S

    def _timestamp(self, time_s: float) -> int:
        return int((time_s + self._start_s) / self._stream.time_base)

    def _seek(self, start_s: float) -> None:
        """Place the decoder so that its next frame is not after `start_s` (or is the first of all)."""
        for back_s in (0.0, 2.0, 10.0, math.inf):
            target_s = max(start_s - back_s, 0.0)
            try:
                self._container.seek(self._timestamp(target_s), stream=self._stream, backward=True)
            except av.FFmpegError:
                return  # then all that lies between is decoded
            frames = self._decode()
            first = next(frames, None)
            if first is not None and (first.time_s <= start_s or target_s == 0.0):
                self._frames = itertools.chain([first], frames)
                return

    def _decode(self) -> Iterator[DecodedFrame]:
        last_s = -math.inf
        self.is_damaged = False
        for packet in self._packets():
            try:
                images = packet.decode()
            except av.FFmpegError:
                self.is_damaged = True
                continue
            for image in images:
                time_s = self._time_s(image, last_s)
                if time_s <= last_s or (self.is_damaged and not image.key_frame):
                    continue
                after_damage, self.is_damaged = self.is_damaged, False
                last_s = time_s
                yield DecodedFrame(time_s, image, after_damage)

    def _packets(self) -> Iterator[av.Packet]:
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    self.read_until_s = max(self.read_until_s, packet.pts * self._tick_s - self._start_s)
                yield packet
        except (av.FFmpegError, OSError) as error:
            raise UserError(f"{self._name} cannot be decoded: {error.strerror}") from None

    def _time_s(self, image: av.VideoFrame, last_s: float) -> float:
        if image.pts is not None:
            return float(image.pts * self._tick_s) - self._start_s
        return last_s + 1.0 / (self.info.fps or 25.0) if math.isfinite(last_s) else 0.0


def open_video(source: Source) -> av.container.InputContainer:
    """Open a file whose first video stream is to be decoded, on one thread and in frames of at most `MOST_PIXELS`.

    Raises UserError when it cannot be read, has no video stream or none that can be decoded here.
    """
    container = _open(source)
    stream = container.streams.video[0]
    stream.thread_type = "NONE"  # a data job has one process a core already
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # whatever the container says
    return container


def probe(source: Source) -> VideoInfo:
    """Read what the container says. Raises UserError when the file cannot be read or has no video stream."""
    with _open(source) as container:
        return _info(container)


def read_frames(source: Source) -> Iterator[Frame]:
    """Decode the first video stream from its start: uint8 `[H, W, 3]` RGB frames, in order of presentation.

    Raises UserError where the file cannot be read or decoded.
    """
    decoder = VideoDecoder(source)
    try:
        for frame in decoder.frames():
            yield frame.image.to_ndarray(format="rgb24")
    finally:
        decoder.close()


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


def _info(container: av.container.InputContainer) -> VideoInfo:
    stream = container.streams.video[0]
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate and rate <= _FASTEST_FPS else _measured_fps(container)
    if stream.duration:
        duration_s = float(stream.duration * stream.time_base)
    else:
        duration_s = float(container.duration or 0) / av.time_base
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return VideoInfo(stream.width, stream.height, fps, stream.frames or round(duration_s * fps), duration_s, aspect)


def _measured_fps(container: av.container.InputContainer) -> float:
    """From the first packets, where the container names no rate or that of its clock; 0 where they have no times."""
    stream = container.streams.video[0]
    try:
        packets = list(itertools.islice(container.demux(stream), _MEASURED_PACKETS))
        container.seek(stream.start_time or 0, stream=stream, backward=True)
    except av.FFmpegError:
        return 0.0
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    gap = float(np.median(np.diff(times)) * stream.time_base) if len(times) > 1 else 0.0
    return 1.0 / gap if gap > 0 else 0.0


def _open(source: Source) -> av.container.InputContainer:
    try:
        container = av.open(str(source) if isinstance(source, Path) else source, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{_name(source)} is no readable video: {error.strerror}") from None
    if not container.streams.video:
        container.close()
        raise NoVideoError(f"{_name(source)} has no video stream")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise NoDecoderError(f"{_name(source)} has a codec that cannot be decoded here")
    return container


def _name(source: Source) -> str:
    return str(getattr(source, "name", "the file")) if hasattr(source, "read") else str(source)
