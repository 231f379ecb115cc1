"""Sampling a picture between its pixels, at about the price of one OpenCV remap, with little blur and aliasing.

What views see of a picture is doubled once with a windowed sinc, and every view is sampled from the double linearly.
OpenCV rounds places to 1/32 pixel, of the double: 1/128 pixel is the largest error, where its cubic and Lanczos
kernels, 4 and 11 times as slow, are off by 1/64. What the linear step blurs is added beforehand; where a view shrinks
the picture, the double is blurred to the size of the view's pixels, so that little aliases.

Pictures are bytes or floats. Bytes are rounded after each of the two directions and after sampling: 0.48 grey levels
(RMS) where floats, rounded once at the end, have 0.42 (tests/datagen/warps/test_resampling.py).
"""

from __future__ import annotations

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
_HALFWAY = np.sinc([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]) * np.sinc(np.arange(-3.5, 4.0) / 4)
_HALFWAY /= _HALFWAY.sum()
"""Lanczos' kernel of 8 taps at half a pixel; its second moment is 0, so it keeps parabolas."""


class Doubler:
    """Puts a sample between every two pixels of pictures `[h, w, C]` of one size.

    Its memory is used again for every picture: on fresh memory the system spends three times as long as the filters.
    """

    def __init__(self, height: int, width: int, channels: int, dtype: npt.DTypeLike = np.float32) -> None:
        """`dtype` is that of the pictures: float32 or uint8. Four channels of bytes are faster than three."""
        self._tall = np.empty((2 * height, width, channels), dtype)
        self._filtered = np.empty_like(self._tall)
        self._out = np.empty((2 * height, 2 * width, channels), dtype)

    def __call__(self, image: Picture, level: int) -> Picture:
        """Give `[2h, 2w, C]`, valid until the next call, for views of this level; the last row and column are beyond
        the picture.

        With pixels of variance 1/12 in both directions, a view whose pixels are `s` times as large asks for a blur
        of variance `(s^2 - 1) / 12`, and linear sampling at half-pixel steps blurs by 1/24 on average. Both are a
        multiple of the second difference, so they are one filter of three taps.
        """
        bend = (_LEVEL**level - 1.0) / 24.0 - 1.0 / 48.0
        correction = np.array([bend, 1.0 - 2.0 * bend, bend])
        at, between = correction.astype(np.float32), np.convolve(_HALFWAY, correction).astype(np.float32)
        _filter(image, at[:, None], (0, 1), self._tall[::2])
        _filter(image, between[:, None], (0, 4), self._tall[1::2])
        filtered, out = _as_pixels(self._filtered), _as_pixels(self._out)
        for column, kernel, anchor in ((0, at, 1), (1, between, 4)):
            _filter(self._tall, kernel[None], (anchor, 0), self._filtered)
            out[:, column::2] = filtered
        return self._out


def level_of(view_to_view0: Array, height: int, width: int) -> int:
    """By how much a view shrinks the picture: 0 is not at all, each further level 1.2 times in area.

    It is the mean over the view of the pixel's second moment, x or y, whichever is larger.
    """
    x, y = np.meshgrid(np.linspace(0.0, width, 5), np.linspace(0.0, height, 5))
    points = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    mapped = points @ view_to_view0.T
    place = mapped[:, :2] / mapped[:, 2:]
    # d(place) / d(x, y) of a homography, [N, 2 of place, 2 of x and y]
    slope = (view_to_view0[None, :2, :2] - place[:, :, None] * view_to_view0[None, 2:, :2]) / mapped[:, 2:, None]
    moment = float((slope**2).sum(axis=2).mean(axis=0).max())
    return max(0, round(float(np.log(moment) / np.log(_LEVEL))))


def sampling_map(view_to_source: Array, height: int, width: int) -> Places:
    """Where in the double of a source each pixel of a view lies, for `sample`, in 1/32 of its pixels."""
    m = view_to_source
    x, y = np.arange(width)[None] + 0.5, np.arange(height)[:, None] + 0.5
    scale = 2.0 / (m[2, 0] * x + (m[2, 1] * y + m[2, 2]))
    at_x = (m[0, 0] * x + (m[0, 1] * y + m[0, 2])) * scale - 1.0
    at_y = (m[1, 0] * x + (m[1, 1] * y + m[1, 2])) * scale - 1.0
    whole, rest = cv2.convertMaps(at_x.astype(np.float32), at_y.astype(np.float32), cv2.CV_16SC2)
    return whole, rest


def sample(doubled: Picture, places: Places, out: Picture) -> None:
    """Write the picture at the places of a `sampling_map` to `out` `[H, W, C]`, C at most 4, of the same type."""
    cv2.remap(doubled, *places, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)


def to_bytes(image: Image, out: npt.NDArray[np.uint8]) -> None:
    """Write grey levels to `out`, rounded and saturated."""
    cv2.add(image, 0.0, dst=out, dtype=cv2.CV_8U)


def _filter(image: Picture, kernel: Image, anchor: tuple[int, int], out: Picture) -> None:
    cv2.filter2D(image, -1, kernel, dst=out, anchor=anchor, borderType=cv2.BORDER_REPLICATE)


def _as_pixels(image: Picture) -> npt.NDArray[Any]:
    """The same memory with a pixel as one element: numpy copies these six times as fast as runs of three numbers."""
    size = image.shape[2] * image.itemsize
    return image.view(np.uint32 if size == 4 else f"V{size}")[..., 0]
