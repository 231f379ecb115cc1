"""How a clip looks: light, contrast, sharpness.

Letters: T frames, H rows, W columns. Brightness is sRGB luma from 0 to 1.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.videos.greys import Grey

_BLUR_PIXELS = 9
_FINER = 64
"""Steps to a grey level, so that 16 bits do, at which OpenCV takes half as long as with floats."""


def look_statistics(grey: Grey, fine: Grey) -> dict[str, float]:
    """What the frames of a clip look like; `grey` `[T, H, W]` is small, `fine` some of the grid's size.

    `brightness_p5` and `brightness_p95` are percentiles over the whole clip, `contrast` the lowest frame's difference
    between these percentiles. `flicker` is the mean distance of a frame's mean brightness from the mean of its
    neighbours', `fade` the difference between the brightest and the darkest frame's. `blur` is 0 for a sharp and 1
    for a wholly blurred frame, the median of the fine ones (see `blur`).
    """
    counts = np.stack([cv2.calcHist([frame], [0], None, [256], [0.0, 256.0])[:, 0] for frame in grey])
    low, high = _percentiles(counts)
    (clip_low,), (clip_high,) = _percentiles(counts.sum(axis=0, keepdims=True))
    mean = counts @ np.arange(256) / (255.0 * counts.sum(axis=1))
    return {
        "brightness_p5": float(clip_low),
        "brightness_p95": float(clip_high),
        "contrast": float((high - low).min()),
        "flicker": float(np.abs(mean[1:-1] - 0.5 * (mean[2:] + mean[:-2])).mean()) if len(mean) > 2 else 0.0,
        "fade": float(np.ptp(mean)),
        "blur": float(np.median([blur(frame) for frame in fine])),
    }


def _percentiles(counts: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """5th and 95th percentile, 0 to 1, of pixels of which there are `counts` `[N, 256]` of each grey level."""
    share = counts.cumsum(axis=1) / counts.sum(axis=1, keepdims=True)
    return (share >= 0.05).argmax(axis=1) / 255.0, (share >= 0.95).argmax(axis=1) / 255.0


def blur(grey: npt.NDArray[np.uint8]) -> float:
    """How blurred a picture `[H, W]` is: the share of its neighbours' differences that outlasts blurring it again.

    Crete et al., "The blur effect: perception and estimation with a new no-reference perceptual blur metric" (HVEI
    2007): what is sharp loses much, what is blurred already little. Neither contrast nor brightness matter. A picture
    without any difference is wholly blurred. Noise is taken out first: it would pass for sharpness.
    """
    picture = cv2.GaussianBlur(cv2.multiply(grey, _FINER, dtype=cv2.CV_16U), (3, 3), 0)
    shares = []
    for size in ((1, _BLUR_PIXELS), (_BLUR_PIXELS, 1)):
        again = cv2.blur(picture, size)
        if size[0] == 1:
            before, after = cv2.absdiff(picture[1:], picture[:-1]), cv2.absdiff(again[1:], again[:-1])
        else:
            before, after = cv2.absdiff(picture[:, 1:], picture[:, :-1]), cv2.absdiff(again[:, 1:], again[:, :-1])
        total = cv2.sumElems(before)[0]
        lost = cv2.sumElems(cv2.subtract(before, after))[0]  # where it is more than before, nothing: it saturates
        shares.append(1.0 - lost / max(total, 1.0))
    return float(max(shares))
