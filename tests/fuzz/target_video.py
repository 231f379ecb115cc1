"""Videos: scanning a folder, and decoding a clip of each window; a side file of depth."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import av
import numpy as np
from hypothesis import strategies as st
from tests.fuzz.harness import Fault, Target
from tests.fuzz.mutations import damaged_bytes

from fourreal.datagen.videos.reader import ClipReader
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.side_files import depth_file, read_depth
from fourreal.datagen.videos.sources import VideoSource
from fourreal.datagen.videos.timing import Timing
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.errors import UserError

_TIMING = Timing(times=4, stride=2)
_FRAMES, _HEIGHT, _WIDTH = 12, 48, 64
_KINDS = [
    ("a.mp4", "libx264", "yuv420p"),
    ("a.mkv", "ffv1", "yuv420p"),
    ("a.avi", "mjpeg", "yuvj420p"),
    ("a.webm", "libvpx-vp9", "yuv420p"),
    ("a.mov", "mpeg4", "yuv420p"),
]


@functools.cache
def _video(name: str, codec: str, pixels: str) -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    with av.open(file, "w", format={"mkv": "matroska"}.get(name[2:], name[2:])) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, pixels
        for _ in range(_FRAMES):
            image = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@functools.cache
def _depth() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones((_FRAMES, 6, 8), np.float32), allow_pickle=False)
    return file.getvalue()


def _inputs() -> st.SearchStrategy[tuple[str, bytes, bytes | None]]:
    kinds = st.sampled_from(_KINDS)
    videos = kinds.flatmap(lambda kind: st.tuples(st.just(kind[0]), damaged_bytes(_video(*kind)), st.none()))
    whole = kinds.flatmap(lambda kind: st.tuples(st.just(kind[0]), st.just(_video(*kind)), damaged_bytes(_depth())))
    return st.one_of(videos, videos, videos, whole)


def _use(given: tuple[str, bytes, bytes | None], folder: Path) -> object:
    name, data, depth = given
    (folder / name).write_bytes(data)
    if depth is not None:
        (folder / "a.depth.npy").write_bytes(depth)
    reader = ClipReader(_TIMING, limit_s=30.0)
    failures = []
    try:
        for item in list_windows(str(folder), _TIMING, 2):
            try:
                clip = reader.read(item)
                images = clip.images(32, 24)
                if images.shape != (4, 24, 32, 3):
                    raise Fault(f"a clip of {images.shape}")
                source = VideoSource.from_spec(item.spec)
                if found := depth_file(source):
                    read_depth(source, found, clip)
            except ItemFailure as failure:
                failures.append(failure)
    finally:
        reader.close()
    if failures:
        if any(failure.reason == "timeout" for failure in failures):
            raise Fault("decoding hangs")
        raise failures[0]
    return None


TARGET = Target("video", _inputs, _use, (ItemFailure, UserError), cost=3)
