"""Frames between shards and the model: cropped, resized, mirrored as uint8; floats only where the model runs.

Shape legend: N frames, H W their pixels, any leading axes in `...`.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourreal.platform.codec import EncodedGrid

Image = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


def fit(
    frames: Image, height: int, width: int, place: tuple[float, float] = (0.5, 0.5), out: Image | None = None
) -> Image:
    """Crop frames [N, H, W, 3] to the wanted aspect ratio and resize them to [N, height, width, 3].

    `place` says where the crop lies in the room there is for it, from 0 (top, left) to 1; `out` takes the result.
    """
    _, H, W, _ = frames.shape
    crop_height, crop_width = crop_size(H, W, height, width)
    top, left = round((H - crop_height) * place[0]), round((W - crop_width) * place[1])
    cropped = frames[:, top : top + crop_height, left : left + crop_width]
    if out is None:
        out = np.empty((len(frames), height, width, 3), np.uint8)
    if (crop_height, crop_width) == (height, width):
        out[...] = cropped
        return out
    method = cv2.INTER_AREA if crop_height >= height else cv2.INTER_CUBIC
    for frame, target in zip(cropped, out, strict=True):
        cv2.resize(frame, (width, height), dst=target, interpolation=method)
    return out


def crop_size(have_height: int, have_width: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of what `fit` keeps of a frame: the largest part of the wanted aspect ratio."""
    return min(have_height, round(have_width * height / width)), min(have_width, round(have_height * width / height))


def decode_into(out: Image, grid: EncodedGrid, pairs: Indices, place: tuple[float, float], mirrored: bool) -> None:
    """Decode the frames at `pairs` [N, 2] of (view, time), and no others, and make them `out` [N, height, width, 3].

    Frames of the right size are decoded where they are wanted, without a copy.
    """
    _, _, H, W = grid.shape
    index: list[tuple[int, int]] = pairs.tolist()
    count, height, width, _ = out.shape
    fits = (height, width) == (H, W)
    if fits and not mirrored:
        grid.frames_at(index, out)
        return
    pixels = grid.frames_at(index)
    if not fits:
        pixels = fit(pixels, height, width, place, None if mirrored else out)
    if mirrored:  # as one tall picture
        cv2.flip(pixels.reshape(count * height, width, 3), 1, dst=out.reshape(count * height, width, 3))


def to_model(pixels: Image | Tensor) -> Tensor:
    """uint8 [..., H, W, 3] to float32 [..., 3, H, W] in [-1, 1], on the device that they are on."""
    tensor = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.ascontiguousarray(pixels))
    return tensor.movedim(-1, -3).contiguous().float().div_(127.5).sub_(1)


def to_pixels(frames: Tensor) -> Image:
    """The inverse of `to_model`, rounded and clipped."""
    scaled = ((frames.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels: Image = scaled.movedim(-3, -1).contiguous().numpy()
    return pixels


@functools.cache
def even_indices(have: int, want: int) -> Indices:
    """`want` of `have` positions, evenly spread, first and last included; not to be written to."""
    indices = np.linspace(0, have - 1, want).round().astype(np.int64)
    indices.flags.writeable = False
    return indices
