"""Sampling a picture between its pixels, at about the price of one OpenCV remap, with little blur and aliasing.

Views are sampled linearly from a picture of twice the resolution, made once for all of them: straight from the video
where that is large enough, otherwise by OpenCV's pyramid. OpenCV rounds places to 1/32 pixel, of the double: 1/128
pixel is the largest error, where its cubic and Lanczos kernels, 4 and 11 times as slow, are off by 1/64. What the
pyramid and the linear step blur is taken back beforehand; where a view shrinks the picture, the double is blurred to
the size of the view's pixels, so that little aliases.

Against pixels that average their area, of rings up to the finest there are, bytes come out at 44 dB and more, where
OpenCV's linear and cubic kernels reach 37 and 43 at best (a windowed sinc in the pyramid's place: 46, for half again
the time); smooth patterns to 0.44 grey levels (RMS) as bytes, 0.12 as floats (tests/datagen/warps/test_resampling.py).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Picture = npt.NDArray[Any]
"""`[h, w, C]`, uint8 or float32."""
Places = tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]
"""Whole pixels `[H, W, 2]` and the rest `[H, W]`, as OpenCV packs them; made once for all times."""

SUPPORT = 5
"""A sample reads pixels at most so far away."""
_LEVEL = 1.2
"""Views whose pixels differ in area by less than this share a double."""
_CENTRE = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
"""Numbers of pixels to places."""
IN_DOUBLE = np.array([[2.0, 0.0, -0.5], [0.0, 2.0, -0.5], [0.0, 0.0, 1.0]])
"""Places in a picture to places in what `Doubler` makes of it: its pixels stay, others come between them."""
IN_FINE = np.diag([2.0, 2.0, 1.0])
"""Places in a picture to places in the same of twice the resolution, four pixels for each."""


class Doubler:
    """Puts a sample between every two pixels of pictures `[h, w, C]` of one size.

    Its memory is used again for every picture: on fresh memory the system spends three times as long as the filters.
    """

    def __init__(self, height: int, width: int, channels: int, dtype: npt.DTypeLike = np.float32) -> None:
        """`dtype` is that of the pictures: float32 or uint8."""
        self._corrected = np.empty((height, width, channels), dtype)
        self._out = np.empty((2 * height, 2 * width, channels), dtype)

    def __call__(self, image: Picture, level: int) -> Picture:
        """Give `[2h, 2w, C]`, valid until the next call, for views of this level; the last row and column are beyond
        the picture.

        With pixels of variance 1/12 in both directions, a view whose pixels are `s` times as large asks for a blur
        of variance `(s^2 - 1) / 12`. The pyramid blurs by 1/4, at the old pixels (1/8, 3/4, 1/8) as between them
        (1/2, 1/2), and linear sampling at half-pixel steps by 1/24 on average. All are a multiple of the second
        difference, so they are one filter of three taps.
        """
        bend = (_LEVEL**level - 1.0) / 24.0 - 1.0 / 48.0 - 1.0 / 8.0
        taps = np.array([bend, 1.0 - 2.0 * bend, bend], np.float32)
        cv2.sepFilter2D(image, -1, taps, taps, dst=self._corrected, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.pyrUp(self._corrected, dst=self._out))


def soften(fine: Picture, level: int) -> Picture:
    """A picture `[2h, 2w, C]` of twice the resolution, blurred to what views of this level ask for.

    Its pixels have variance 1/48 (in those of the picture of single resolution), linear sampling adds 1/24, a view's
    pixels have `s^2 / 12`: see `Doubler`. At level 0 most views have smaller pixels than the picture, and all come
    nearer to what pixels average without a blur than they would with that of the largest.
    """
    if level == 0:
        return fine
    variance = _LEVEL**level / 3.0 - 0.25  # in pixels of the fine picture
    if variance < 0.5:  # three taps, of which the outer are half of it
        size, sigma = 3, math.sqrt(-0.5 / math.log(0.5 * variance / (1.0 - variance)))
    else:
        sigma = math.sqrt(variance)
        size = 2 * math.ceil(2.5 * sigma) + 1
    return np.asarray(cv2.GaussianBlur(fine, (size, size), sigma, borderType=cv2.BORDER_REPLICATE))


def levels_of(view_to_view0: Array, height: int, width: int) -> list[int]:
    """By how much each view, of `[V, 3, 3]`, shrinks the picture: 0 is not at all, each further level 1.2 times in
    area.

    It is the mean over the view of the pixel's second moment, x or y, whichever is larger.
    """
    x, y = np.meshgrid(np.linspace(0.0, width, 5), np.linspace(0.0, height, 5))
    points = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    mapped = points @ view_to_view0.swapaxes(1, 2)
    place, depth = mapped[..., :2] / mapped[..., 2:], mapped[..., 2, None, None]
    # d(place) / d(x, y) of a homography, [V, N, 2 of place, 2 of x and y]
    slope = (view_to_view0[:, None, :2, :2] - place[..., None] * view_to_view0[:, None, 2:, :2]) / depth
    moment = (slope**2).sum(axis=3).mean(axis=1).max(axis=1)
    return [max(0, round(level)) for level in (np.log(moment) / np.log(_LEVEL)).tolist()]


def sampling_maps(view_to_picture: Array, height: int, width: int) -> list[Places]:
    """Where in a picture each pixel of each view lies, for `sample`, by `[V, 3, 3]`; pixel centres are at +0.5."""
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    found = []
    at = np.empty((3, height, width), np.float32)  # one for all views: fresh memory costs as much as the arithmetic
    for m in (np.linalg.inv(_CENTRE) @ view_to_picture @ _CENTRE).astype(np.float32):
        for row, out in zip(m, at, strict=True):
            np.add(row[0] * x, row[1] * y + row[2], out=out)
        np.divide(at[:2], at[2], out=at[:2])
        whole, rest = cv2.convertMaps(at[0], at[1], cv2.CV_16SC2)
        found.append((whole, rest))
    return found


def sample(picture: Picture, places: Places, out: Picture) -> None:
    """Write the picture at places of `sampling_maps` to `out` `[H, W, C]`, C at most 4, of the same type."""
    cv2.remap(picture, *places, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)


def to_bytes(image: Image, out: npt.NDArray[np.uint8]) -> None:
    """Write grey levels to `out`, rounded and saturated."""
    cv2.add(image, 0.0, dst=out, dtype=cv2.CV_8U)
