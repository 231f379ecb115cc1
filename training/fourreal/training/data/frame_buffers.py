"""Memory for the frames of batches, used again when nothing refers to a batch any more.

The kernel gives fresh memory by pages, each cleared when it is first touched: of a batch of decoded frames that takes
a tenth of the time that decoding it does.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class FrameBuffers:
    """Hands out tensors. Any thread may ask."""

    def __init__(self) -> None:
        self._free: defaultdict[int, list[npt.NDArray[np.uint8]]] = defaultdict(list)
        """By size in bytes."""

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor with any content; where there is a GPU, in memory that it can fetch from by itself."""
        if torch.cuda.is_available() or dtype != torch.uint8:  # torch keeps such memory for the next by itself
            return torch.empty(shape, dtype=dtype, pin_memory=torch.cuda.is_available())
        free = self._free[math.prod(shape)]
        try:
            memory = free.pop()
        except IndexError:
            memory = np.empty(math.prod(shape), np.uint8)  # NumPy asks for huge pages: far fewer faults than torch's
        # What the tensor is made of ends with its storage: with the last of all views of it.
        lent = memory.reshape(shape)
        weakref.finalize(lent, free.append, memory).atexit = False
        return torch.from_numpy(lent)
