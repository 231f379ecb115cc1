"""High dynamic range to what a screen of ordinary range shows.

libswscale can do this, but builds a table of 5 s for every pair of sizes, and this build of libavfilter has no
zscale; on the few, small frames of a clip numpy is faster than either. The curves are ITU-R BT.2100's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

PQ, HLG = 16, 18
"""Transfer characteristics as files name them (ITU-T H.273)."""
_WHITE_NITS = 203.0
"""Diffuse white of HDR programmes (ITU-R BT.2408)."""
_HLG_PEAK_NITS = 1000.0
_KNEE = 0.8
"""Light up to this share of white is kept; what is brighter is compressed towards 1."""
_LUMA_2020 = np.array([0.2627, 0.678, 0.0593], np.float32)
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def tone_map(signal: npt.NDArray[np.uint16], transfer: int) -> npt.NDArray[np.uint8]:
    """Turn RGB of BT.2020 `[..., 3]`, full range of 16 bits, transfer `PQ` or `HLG`, into RGB of BT.709, 8 bits.

    Light relative to diffuse white is kept up to 80 percent of it and rolled off above, by the largest of the three
    channels, so that hues stay.
    """
    light = _EOTF[transfer](signal.astype(np.float32) / 65535.0) / _WHITE_NITS
    light = np.maximum(light @ _BT2020_TO_BT709.T, 0.0)
    brightest = light.max(axis=-1, keepdims=True)
    over = np.maximum(brightest - _KNEE, 0.0)
    rolled = np.where(brightest > _KNEE, _KNEE + (1 - _KNEE) * over / (over + (1 - _KNEE)), brightest)
    shown = light * (rolled / np.maximum(brightest, 1e-6))
    return np.asarray(np.round(255.0 * shown ** (1 / 2.4)).astype(np.uint8))


def _pq_eotf(signal: Array) -> Array:
    """Light in nits, SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** np.float32(1 / m2)
    return np.asarray(10000.0 * (np.maximum(power - c1, 0.0) / (c2 - c3 * power)) ** (1 / m1), np.float32)


def _hlg_eotf(signal: Array) -> Array:
    """Light in nits of a screen of 1000 nits."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luma = (scene @ _LUMA_2020)[..., None]
    return np.asarray(_HLG_PEAK_NITS * np.maximum(luma, 1e-9) ** 0.2 * scene, np.float32)


_EOTF: dict[int, Callable[[Array], Array]] = {PQ: _pq_eotf, HLG: _hlg_eotf}
