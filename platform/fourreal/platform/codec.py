"""Grids to and from the members of a WebDataset sample; any subset of frames decodes alone.

A *packed* member (`*.pack`) holds one blob per frame behind an index::

    b"4RPK" | uint32 header length | header, JSON {"codec", "dtype", "shape"} | uint32 size of each blob | blobs

little-endian, blobs in the order of the grid's `[V, T]`. The codecs of a blob are

* `jpeg`: JPEG, quality 95, chroma 4:4:4 (about 43 dB, 6 KB at 96x160),
* `png`: lossless, one or three 8-bit channels,
* `octahedral`: unit vectors to 0.06 degrees (see octahedral.py), then PNG,
* `zstd`: the frame's bytes grouped by significance (float data compresses better so), then Zstandard.

Small arrays are plain `.npy`. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import simplejpeg

from fourreal.platform.documents import parse_object
from fourreal.platform.errors import UserError
from fourreal.platform.grid import SCHEMA_VERSION, Grid, GridMeta
from fourreal.platform.octahedral import directions_to_integers, integers_to_directions

Array = npt.NDArray[Any]
_CodecName = Literal["jpeg", "png", "zstd", "octahedral"]

JPEG_QUALITY = 95
FRAMES = "frames.pack"
META = "meta.json"
_PACKS = {"mask": "mask.pack", "depth": "depth.pack", "normals": "normals.pack", "flow": "flow.pack"}
_PACK_CODECS: dict[str, _CodecName] = {"mask": "png", "depth": "zstd", "normals": "octahedral", "flow": "zstd"}
_ARRAYS = {
    "intrinsics": "intrinsics.npy",
    "world_to_camera": "world_to_camera.npy",
    "homographies": "homographies.npy",
}
CODED = "coded.safetensors"
"""What an encoder made of a grid's frames and caption, in a cache of training: there in place of the frames."""
MEMBERS = frozenset([FRAMES, META, CODED, *_PACKS.values(), *_ARRAYS.values()])
"""The names (extensions) that a sample's members may have."""

_MAGIC = b"4RPK"
_DAMAGE = (ValueError, TypeError, KeyError, SyntaxError, MemoryError, OSError, struct.error, cv2.error)
"""What damaged bytes make their readers raise."""
_MAX_FRAME_BYTES = 1 << 30
_MAX_FRAMES = 1 << 20
_ZSTD = pa.Codec("zstd", compression_level=3)


def encode(grid: Grid, *, lossless: bool = False) -> dict[str, bytes]:
    """Return the members of `grid`, by name; the same grid always gives the same bytes.

    `lossless` stores the frames as PNG (about 5 times the bytes) instead of JPEG.
    """
    V, T, H, W, _ = grid.frames.shape
    members = {
        META: meta_member(grid.meta, (V, T, H, W)),
        FRAMES: _pack(grid.frames, "png" if lossless else "jpeg"),
    }
    for name, member in _PACKS.items():
        array = getattr(grid, name)
        if array is not None:
            members[member] = _pack(array, _PACK_CODECS[name])
    for name, member in _ARRAYS.items():
        array = getattr(grid, name)
        if array is not None:
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            members[member] = buffer.getvalue()
    return members


def meta_member(meta: GridMeta, shape: tuple[int, int, int, int]) -> bytes:
    """The member META of a grid of (V, T, H, W)."""
    document = {"schema_version": SCHEMA_VERSION, "shape": list(shape), **vars(meta)}
    return json.dumps(document, sort_keys=True, default=dict).encode()  # an indented one takes ten times as long


@dataclass(frozen=True)
class EncodedGrid:
    """A grid as it lies in a shard: metadata at once, frames decoded when asked for."""

    members: Mapping[str, bytes]
    where: str = "a sample"
    """What to call it in messages: shard and key."""

    @cached_property
    def _document(self) -> dict[str, Any]:
        try:
            document = parse_object(self.members[META])
            version, shape = document["schema_version"], document["shape"]
        except KeyError as error:
            raise UserError(f"{self.where} has no {error}: it is not a fourreal grid") from None
        except ValueError as error:
            raise UserError(f"{self.where} has unreadable metadata ({error}): make its shard again") from None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{self.where} has schema version {version}, this fourreal reads {SCHEMA_VERSION}: "
                + ("upgrade fourreal" if str(version) > str(SCHEMA_VERSION) else "make its shard again")
            )
        whole = isinstance(shape, list) and len(shape) == 4 and all(type(n) is int and n > 0 for n in shape)
        if not whole or shape[0] * shape[1] > _MAX_FRAMES:
            raise UserError(f"{self.where} has shape {shape} in its metadata: make its shard again")
        return document

    @cached_property
    def meta(self) -> GridMeta:
        """The grid's metadata."""
        known = {f.name for f in fields(GridMeta)}
        try:
            return GridMeta(**{k: v for k, v in self._document.items() if k in known})
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.where} has unusable metadata: {error}") from None

    @property
    def key(self) -> str:
        """The grid's key."""
        return self.meta.key

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """(V, T, H, W), from the metadata alone."""
        V, T, H, W = self._document["shape"]
        return V, T, H, W

    def has(self, name: str) -> bool:
        """Whether the grid carries `name`: mask, depth, normals, flow, intrinsics, world_to_camera or homographies."""
        return {**_PACKS, **_ARRAYS}[name] in self.members

    def frames_at(self, index: Iterable[tuple[int, int]], out: Array | None = None) -> npt.NDArray[np.uint8]:
        """Decode the frames at these (view, time) pairs alone; uint8 `[N, H, W, 3]` in their order.

        `out`, uint8 `[N, H, W, 3]` and contiguous, is where they go, without a copy in between.
        """
        return self._unpack(FRAMES, "frames", index, out)

    def jpegs(self) -> list[bytes]:
        """All frames as JPEG files, in the order of `[V, T]`: the stored bytes as they are, others encoded."""
        V, T, _, _ = self.shape
        pack = self._pack(FRAMES, "frames")
        if pack.codec is _CODECS["jpeg"]:
            return pack.blobs()
        return [_CODECS["jpeg"].encode(frame) for frame in self.frames_at((v, t) for v in range(V) for t in range(T))]

    def masks_at(self, index: Iterable[tuple[int, int]]) -> npt.NDArray[np.uint8]:
        """Decode the masks at these (view, time) pairs alone; uint8 `[N, H, W]`."""
        return self._unpack(_PACKS["mask"], "mask", index)

    def array(self, name: str) -> npt.NDArray[np.float64]:
        """Return one of the small arrays: intrinsics, world_to_camera or homographies."""
        try:
            loaded = np.load(io.BytesIO(self.members[_ARRAYS[name]]), allow_pickle=False)
        except Exception as error:  # damaged bytes make NumPy's parser raise anything, SyntaxError included
            raise UserError(f"{self.where}: {_ARRAYS[name]} is unreadable ({error})") from None
        return np.asarray(loaded)

    def decode(self) -> Grid:
        """Decode everything. Raises UserError where the bytes are damaged."""
        V, T, H, W = self.shape
        everything = [(v, t) for v in range(V) for t in range(T)]
        arrays: dict[str, Any] = {name: self.array(name) for name in _ARRAYS if self.has(name)}
        for name, member in {"frames": FRAMES, **_PACKS}.items():
            if member in self.members:
                flat = self._unpack(member, name, everything)
                arrays[name] = flat.reshape(V, T, *flat.shape[1:])
        try:
            return Grid(meta=self.meta, **arrays)
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.where} does not fit together: {error}") from None

    def _unpack(self, member: str, name: str, index: Iterable[tuple[int, int]], out: Array | None = None) -> Array:
        V, T, H, W = self.shape
        pairs = list(index)
        for v, t in pairs:
            if not (0 <= v < V and 0 <= t < T):
                raise IndexError(f"{self.where} has {V} views and {T} times, not a frame at view {v}, time {t}")
        pack = self._pack(member, name)
        with self._damage_named(member):
            return pack.decode([v * T + t for v, t in pairs], out)

    def _pack(self, member: str, name: str) -> _Pack:
        if member not in self.members:
            raise UserError(f"{self.where} has no {name}")
        with self._damage_named(member):
            return _Pack(self.members[member], self.shape)

    @contextmanager
    def _damage_named(self, member: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise UserError(f"{self.where}: {member} is damaged ({error}): make its shard again") from None


@dataclass(frozen=True)
class _BlobCodec:
    encode: Callable[[Array], bytes]
    decode: Callable[[bytes | memoryview, Array], Array]
    """A blob, and an array of the frame's shape and type that a decoder may use as its buffer; returns the frame."""


def _encode_png(frame: Array) -> bytes:
    ok, data = cv2.imencode(".png", frame[..., ::-1] if frame.ndim == 3 else frame, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert ok
    return bytes(data.tobytes())


def _decode_png(blob: bytes | memoryview, like: Array) -> Array:
    width, height = struct.unpack_from(">2I", blob, 16)
    if width * height > 2 * like.shape[0] * like.shape[1]:  # directions take two pixels each, the rest one
        raise ValueError(f"a PNG of {width}x{height} pixels in the place of a frame of {like.shape}")
    image = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("a frame is no PNG")
    decoded: Array = image[..., ::-1] if image.ndim == 3 else image
    return decoded


def _encode_zstd(frame: Array) -> bytes:
    by_significance = np.ascontiguousarray(frame).view(np.uint8).reshape(-1, frame.itemsize).T
    return bytes(_ZSTD.compress(by_significance.tobytes(), asbytes=True))


def _decode_zstd(blob: bytes | memoryview, like: Array) -> Array:
    raw = np.frombuffer(_ZSTD.decompress(blob, decompressed_size=like.nbytes, asbytes=True), np.uint8)
    return np.ascontiguousarray(raw.reshape(like.itemsize, -1).T).view(like.dtype).reshape(like.shape)


_CODECS: dict[str, _BlobCodec] = {
    "jpeg": _BlobCodec(
        lambda frame: simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=JPEG_QUALITY, colorsubsampling="444"),
        lambda blob, like: simplejpeg.decode_jpeg(blob, fastdct=False, fastupsample=False, buffer=like),
    ),
    "png": _BlobCodec(_encode_png, _decode_png),
    "octahedral": _BlobCodec(
        lambda frame: _encode_png(directions_to_integers(frame)),
        lambda blob, like: integers_to_directions(_decode_png(blob, like)),
    ),
    "zstd": _BlobCodec(_encode_zstd, _decode_zstd),
}


def _pack(array: Array, codec: _CodecName) -> bytes:
    frames = array.reshape(-1, *array.shape[2:])
    blobs = [_CODECS[codec].encode(frame) for frame in frames]
    header = json.dumps({"codec": codec, "dtype": array.dtype.str, "shape": array.shape}).encode()
    index = struct.pack(f"<{len(blobs)}I", *map(len, blobs))
    return b"".join([_MAGIC, struct.pack("<I", len(header)), header, index, *blobs])


class _Pack:
    """The reading side of a packed member; raises ValueError where it is not what it says."""

    def __init__(self, data: bytes, shape: tuple[int, int, int, int]) -> None:
        if data[:4] != _MAGIC:
            raise ValueError("no packed member")
        (header_size,) = struct.unpack_from("<I", data, 4)
        header = parse_object(data[8 : 8 + header_size])
        self.shape = tuple(header["shape"])
        if self.shape[:4] != shape:
            raise ValueError(f"it has shape {self.shape} where the metadata says {shape}")
        if header["codec"] not in _CODECS:
            raise ValueError(f"unknown codec {header['codec']!r}")
        self.codec = _CODECS[header["codec"]]
        self.dtype = np.dtype(str(header["dtype"]))
        if self.dtype.hasobject:
            raise ValueError("it holds objects")
        count = shape[0] * shape[1]
        sizes = struct.unpack_from(f"<{count}I", data, 8 + header_size)
        self.starts = list(itertools.accumulate(sizes, initial=8 + header_size + 4 * count))
        if self.starts[-1] != len(data):
            raise ValueError(f"it has {len(data)} bytes where its index says {self.starts[-1]}")
        self.data = memoryview(data)  # whose slices are no copies

    def blobs(self) -> list[bytes]:
        """The encoded frames, in order."""
        return [bytes(self.data[start:end]) for start, end in itertools.pairwise(self.starts)]

    def decode(self, flat_index: list[int], out: Array | None = None) -> Array:
        frame_shape = self.shape[2:]
        frame_bytes = math.prod(frame_shape) * self.dtype.itemsize
        if frame_bytes > _MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {frame_bytes} bytes is refused")
        if out is None:
            out = np.empty((len(flat_index), *frame_shape), self.dtype)
        assert (out.shape, out.dtype) == ((len(flat_index), *frame_shape), self.dtype)
        for i, target in zip(flat_index, out, strict=True):
            frame = self.codec.decode(self.data[self.starts[i] : self.starts[i + 1]], target)
            if frame.shape != frame_shape or frame.dtype != self.dtype:
                raise ValueError(f"frame {i} decodes to {frame.shape} {frame.dtype}, not {frame_shape} {self.dtype}")
            if not np.may_share_memory(frame, target):
                target[...] = frame
        return out
