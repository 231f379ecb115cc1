"""Memory is lent again, and never while anything sees it."""

from __future__ import annotations

import torch

from fourreal.training.data.frame_buffers import FrameBuffers


def test_memory_comes_back_when_the_last_view_is_gone() -> None:
    buffers = FrameBuffers()
    first = buffers.take((2, 3, 4), torch.uint8)
    place = first.data_ptr()
    view = first[1].flatten()
    view.fill_(7)
    del first
    other = buffers.take((2, 3, 4), torch.uint8)
    other.fill_(1)
    assert other.data_ptr() != place
    assert view.tolist() == [7] * 12
    del view
    assert buffers.take((4, 6), torch.uint8).data_ptr() == place


def test_arrays_made_of_a_tensor_keep_its_memory() -> None:
    buffers = FrameBuffers()
    array = buffers.take((5,), torch.uint8).numpy()
    array[:] = 3
    buffers.take((5,), torch.uint8).fill_(9)
    assert array.tolist() == [3] * 5
