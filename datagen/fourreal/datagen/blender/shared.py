"""The memory through which the pixels of a grid travel from the Blender child to its parent.

Letters: V views, T times, H rows, W columns.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PixelLayout:
    """Where colour, depth and the passes of one grid lie in a block of memory, in this order."""

    views: int
    times: int
    height: int
    width: int
    passes: Mapping[str, int] = field(default_factory=dict)
    """Channels, float32, of each further pass by name."""

    @property
    def colour_shape(self) -> tuple[int, int, int, int, int]:
        """Float16, linear light, premultiplied RGBA."""
        return self.views, self.times, self.height, self.width, 4

    @property
    def depth_shape(self) -> tuple[int, int, int, int]:
        """Float32."""
        return self.views, self.times, self.height, self.width

    @property
    def size_bytes(self) -> int:
        """Of the whole block."""
        return self.views * self.times * self.height * self.width * self._pixel_bytes

    @property
    def _pixel_bytes(self) -> int:
        return 4 * 2 + 4 + 4 * sum(self.passes.values())

    def arrays(self, block: mmap.mmap) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
        """Colour and depth as views into the block; drop both before the block is closed."""
        count = self.views * self.times * self.height * self.width
        colour = np.frombuffer(block, np.float16, count * 4).reshape(self.colour_shape)
        depth = np.frombuffer(block, np.float32, count, offset=count * 8).reshape(self.depth_shape)
        return colour, depth

    def pass_arrays(self, block: mmap.mmap) -> dict[str, npt.NDArray[np.float32]]:
        """The passes by name, `[V, T, H, W, channels]`, as views into the block; drop them before it is closed."""
        count = self.views * self.times * self.height * self.width
        found, offset = {}, count * 12
        for name, channels in self.passes.items():
            values = np.frombuffer(block, np.float32, count * channels, offset=offset)
            found[name] = values.reshape(*self.depth_shape, channels)
            offset += values.nbytes
        return found


class SharedBlock:
    """Anonymous memory that another process can map through its descriptor.

    It has no name, so nothing is left behind whoever is killed, no resource tracker is involved, and the 64 MB of
    /dev/shm in a default container do not limit it. Where the system has no memfd, an unnamed file does the same.
    """

    def __init__(self, size_bytes: int) -> None:
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("fourreal-pixels")
        else:
            with tempfile.TemporaryFile() as file:
                self.descriptor = os.dup(file.fileno())
        os.ftruncate(self.descriptor, size_bytes)
        self.memory = mmap.mmap(self.descriptor, size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.memory.close()
        os.close(self.descriptor)
