"""How frames come to the size of a published network: each network's own published way, never another.

What changes here changes features: raise `feature_cache.PREPARATION_VERSION` with it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

Frames = npt.NDArray[np.uint8]


def stretched(frames: Frames, side_px: int) -> torch.Tensor:
    """uint8 `[N, H, W, 3]` to float32 `[N, 3, side, side]` in 0..255: bicubic with antialiasing, not rounded.

    The resize of clean-fid (Parmar, Zhang, Zhu 2022, section 3): Pillow's, in float, channel by channel.
    """
    out = np.empty((len(frames), 3, side_px, side_px), np.float32)
    for n, frame in enumerate(frames):
        for channel in range(3):
            plane = Image.fromarray(frame[..., channel].astype(np.float32))
            out[n, channel] = plane.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return torch.from_numpy(out.clip(0, 255))


def middle_of_video(video: Frames, side_px: int) -> torch.Tensor:
    """uint8 `[T, H, W, 3]` to float32 `[3, T, side, side]` in -1..1: the shorter side resized, the middle cut out.

    The preparation of StyleGAN-V and VideoGPT: bilinear without antialiasing, the longer side rounded up.
    """
    H, W = video.shape[1:3]
    scale = side_px / min(H, W)
    size = (side_px, math.ceil(W * scale)) if H < W else (math.ceil(H * scale), side_px)
    floats = torch.from_numpy(np.ascontiguousarray(video)).permute(0, 3, 1, 2).float() / 255
    resized = nn.functional.interpolate(floats, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - side_px) // 2, (size[1] - side_px) // 2
    middle = resized[:, :, top : top + side_px, left : left + side_px]
    return (middle * 2 - 1).permute(1, 0, 2, 3).contiguous()


def middle_of_frames(frames: Frames, resize_px: int, crop_px: tuple[int, int]) -> Frames:
    """uint8 `[N, H, W, 3]` to `[N, *crop_px, 3]`: the shorter side resized (bicubic, rounded), the middle cut out."""
    out = np.empty((len(frames), *crop_px, 3), np.uint8)
    for n, frame in enumerate(frames):
        H, W = frame.shape[:2]
        size = (resize_px, int(resize_px * H / W)) if W <= H else (int(resize_px * W / H), resize_px)
        image = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
        top, left = (image.shape[0] - crop_px[0]) // 2, (image.shape[1] - crop_px[1]) // 2
        out[n] = image[top : top + crop_px[0], left : left + crop_px[1]]
    return out
