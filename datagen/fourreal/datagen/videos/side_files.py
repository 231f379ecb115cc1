"""What lies beside a video and says what is in front: a mask or depth, for layers that move apart.

    walk.mp4
    walk.depth.npy      [N, h, w] of floats, a picture for each frame of the video: distances in any unit, infinite
                        where there is nothing (upright, any size, of a video of constant frame rate)
    walk.mask.mp4       or another container: bright where the foreground is, shown at the times of the video

Depth goes before a mask. Members of tars have none.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.sources import MASK_ENDING, SUFFIXES, NotAFileError, VideoSource
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.platform.video import VideoDecoder

DEPTH_SUFFIX = ".depth.npy"
_TOLERANCE_S = 0.1
"""A mask's frame may be so far from the time of the frame it belongs to."""


def depth_file(source: VideoSource) -> str | None:
    """Name of the file of depth beside a video, in its folder."""
    return _beside(source, [DEPTH_SUFFIX])


def mask_file(source: VideoSource) -> str | None:
    """Name of the video of masks beside a video, in its folder."""
    own = PurePosixPath(source.name).suffix
    return _beside(source, [f"{MASK_ENDING}{s}" for s in dict.fromkeys([own, ".mp4", *sorted(SUFFIXES)])])


def read_depth(source: VideoSource, name: str, clip: Clip) -> npt.NDArray[np.float32]:
    """Distances `[T, h, w]` at a clip's times, of the part that the clip shows. Raises ItemFailure."""
    address = Storage(source.folder).path(name)
    try:
        with source.open() as video:
            decoder = VideoDecoder(video)
            fps = decoder.info.fps or 25.0
            decoder.close()
        with VideoSource(source.folder, name).open() as file:
            pictures = [_read_picture(file, round(time_s * fps)) for time_s in clip.times_s]
    except (OSError, NotAFileError, ValueError, UserError) as error:
        raise ItemFailure("layers", "bad_depth", f"{address}: {error}") from None
    return np.stack([clip.crop(picture) for picture in pictures])


def read_mask(source: VideoSource, name: str, clip: Clip) -> npt.NDArray[np.uint8]:
    """Coverage `[T, h, w]`, 0 to 255, at a clip's times, of the part that the clip shows. Raises ItemFailure."""
    address = Storage(source.folder).path(name)
    nearest: list[tuple[float, npt.NDArray[np.uint8]]] = []
    try:
        with VideoSource(source.folder, name).open() as file:
            decoder = VideoDecoder(file)
            frames = decoder.frames(clip.times_s[0] - _TOLERANCE_S, clip.times_s[-1] + _TOLERANCE_S)
            for frame in frames:
                nearest.append((frame.time_s, clip.crop(frame.image.to_ndarray(format="gray"))))
            decoder.close()
    except (OSError, NotAFileError, UserError) as error:
        raise ItemFailure("layers", "bad_mask", f"{address}: {error}") from None
    chosen = []
    for time_s in clip.times_s:
        distance, picture = min(((abs(t - time_s), p) for t, p in nearest), key=lambda c: c[0], default=(np.inf, None))
        if picture is None or distance > _TOLERANCE_S:
            raise ItemFailure(
                "layers", "bad_mask", f"{address} has no frame at {time_s:.2f} s, where the video has one"
            )
        chosen.append(picture)
    return np.stack(chosen)


def _read_picture(file: BinaryIO, index: int) -> npt.NDArray[np.float32]:
    """Picture `index` of an array in a .npy file, without reading the others. Raises ValueError."""
    file.seek(0)
    npy: Any = np.lib.format
    try:
        read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, column_major, dtype = read_header(file)
    except Exception as error:  # a damaged header makes NumPy's parser raise anything
        raise ValueError(f"it is no .npy file ({type(error).__name__})") from None
    if len(shape) != 3 or column_major or dtype.kind != "f":
        raise ValueError(f"depth must be [N, h, w] of floats in rows, not {shape} of {dtype}")
    if not index < shape[0]:
        raise ValueError(f"there is depth for {shape[0]} frames, not for frame {index} of the video")
    count = shape[1] * shape[2]
    file.seek(index * count * dtype.itemsize, 1)
    data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count).reshape(shape[1:]).astype(np.float32)


def _beside(source: VideoSource, endings: list[str]) -> str | None:
    if source.member:
        return None
    storage = Storage(source.folder)
    stem = source.name.removesuffix(PurePosixPath(source.name).suffix)
    return next((f"{stem}{ending}" for ending in endings if storage.exists(f"{stem}{ending}")), None)
