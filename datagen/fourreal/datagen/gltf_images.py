"""How large an image is and whether there can be one, from the first bytes of a PNG, JPEG or WebP file."""

from __future__ import annotations

import struct

from fourreal.datagen.gltf_file import BadGltf

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEFLATE_RATIO = 1032
"""At most so many bytes come out of one (zlib's technical notes)."""
_NOT_FRAMES = frozenset([0xC4, 0xC8, 0xCC])
"""Markers between those of a JPEG's frames (SOF) that mean something else."""


def count_pixels(data: bytes) -> int:
    """Width times height. Raises BadGltf (bad_image) for other formats, and for headers that cannot be true."""
    try:
        width, height = _size(data)
    except (struct.error, IndexError):
        raise BadGltf("bad_image", "a texture ends inside its header") from None
    if not width or not height:
        raise BadGltf("bad_image", f"a texture of {width} x {height} pixels")
    return width * height


def _size(data: bytes) -> tuple[int, int]:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    raise BadGltf("bad_image", f"a texture is no PNG, JPEG or WebP: it begins with {data[:8]!r}")


def _png(data: bytes) -> tuple[int, int]:
    kind, width, height, bits, colour = struct.unpack_from(">4sIIBB", data, 12)
    if kind != b"IHDR" or colour not in _PNG_CHANNELS:
        raise BadGltf("bad_image", "a PNG texture has no sound header")
    if width * height * bits * _PNG_CHANNELS[colour] > 8 * _DEFLATE_RATIO * len(data):
        raise BadGltf("bad_image", f"{len(data)} bytes cannot hold a PNG texture of {width} x {height} pixels")
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        while data[at] == 0xFF:
            at += 1
        marker, length = data[at], struct.unpack_from(">H", data, at + 1)[0]
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 4)
            return width, height
        if length < 2 or marker == 0xDA:
            raise BadGltf("bad_image", "a JPEG texture has no frame")
        at += 1 + length


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
