"""Reads the one kind of OpenEXR file that the fallback render path writes.

Format: "OpenEXR File Layout" (openexr.com/en/latest/OpenEXRFileLayout.html), single part, scan lines, 32-bit float
channels, no compression.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

_MAGIC = 20000630
_NOT_SCAN_LINES_OF_ONE_PART = 0x200 | 0x800 | 0x1000
_FLOAT = 2


def read_exr(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return every channel by name, `[H, W]`, top line first.

    Raises ValueError for any other kind of file.
    """
    data = path.read_bytes()
    magic, version = struct.unpack_from("<II", data)
    if magic != _MAGIC or version & _NOT_SCAN_LINES_OF_ONE_PART:
        raise ValueError(f"{path.name} is not a single-part scan-line OpenEXR file")
    attributes, position = _attributes(data, 8)
    channels = _channels(attributes["channels"])
    if attributes["compression"] != b"\0" or any(kind != _FLOAT for _name, kind in channels):
        raise ValueError(f"{path.name} must be uncompressed with 32-bit float channels")
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    height, width = bottom - top + 1, right - left + 1
    planes = np.empty((len(channels), height, width), np.float32)
    for offset in struct.unpack_from(f"<{height}Q", data, position):
        (line,) = struct.unpack_from("<i", data, offset)
        values = np.frombuffer(data, "<f4", len(channels) * width, offset + 8)
        planes[:, line - top] = values.reshape(len(channels), width)
    return {name: planes[i] for i, (name, _kind) in enumerate(channels)}


def _attributes(data: bytes, position: int) -> tuple[dict[str, bytes], int]:
    found: dict[str, bytes] = {}
    while data[position] != 0:
        name, position = _text(data, position)
        _kind, position = _text(data, position)
        (size_bytes,) = struct.unpack_from("<i", data, position)
        found[name] = data[position + 4 : position + 4 + size_bytes]
        position += 4 + size_bytes
    return found, position + 1


def _channels(value: bytes) -> list[tuple[str, int]]:
    position, found = 0, []
    while value[position] != 0:
        name, position = _text(value, position)
        (kind,) = struct.unpack_from("<i", value, position)
        found.append((name, kind))
        position += 16  # pixel type, linearity and padding, x and y sampling
    return found


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.index(b"\0", position)
    return data[position:end].decode(), end + 1
