"""The memory through which the pixels of a grid travel from the Blender child to its parent.

Letters: V views, T times, H rows, W columns.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PixelLayout:
    """Where colour and depth of one grid lie in a block of memory, colour first."""

    views: int
    times: int
    height: int
    width: int

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
        return self.views * self.times * self.height * self.width * (4 * 2 + 4)

    def arrays(self, block: mmap.mmap) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
        """Colour and depth as views into the block; drop both before the block is closed."""
        count = self.views * self.times * self.height * self.width
        colour = np.frombuffer(block, np.float16, count * 4).reshape(self.colour_shape)
        depth = np.frombuffer(block, np.float32, count, offset=count * 8).reshape(self.depth_shape)
        return colour, depth


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
