"""A clip: a few decoded frames, turned into pictures of just the size that is asked for."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from fourreal.datagen.videos.bars import Box, Brightest, bright_box
from fourreal.datagen.videos.crop import crop
from fourreal.datagen.videos.greys import Halved, size_within, spread
from fourreal.datagen.videos.hdr import HLG, PQ, tone_map

Images = npt.NDArray[np.uint8]
Picture = npt.NDArray[Any]

_EIGHT_BIT_LUMA = frozenset(["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p", "nv12", "gray"])
"""Formats whose first plane is brightness, 8 bits: read where it lies."""
_FULL_RANGE = 2
_UNSPECIFIED = 2
_HD_LINES = 720
"""From here on a file that does not say so is taken to be BT.709, as players do."""


class Clip:
    """Frames of one shot. Sizes are those that a player shows: square pixels, rotated as the file says, bars cut off.

    Frames stay as the codec gave them until pictures are asked for; only then, and at that size, are they converted.
    """

    def __init__(
        self,
        frames: Sequence[av.VideoFrame],
        times_s: Sequence[float],
        fps: float = 0.0,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        """`times_s` are the times of presentation, from the start of the file, `fps` the rate that was asked for."""
        self.times_s, self.fps = tuple(times_s), fps
        self.statistics: Mapping[str, float] = {}
        """What the check that accepted the clip measured of it."""
        self._reformatter = VideoReformatter()
        self._halved: dict[int, Halved] = {}
        """Brightness, by the number of the frame, where it was asked for."""
        box = bright_box(self._brightest(frames[:1]), self._brightest(frames), frames[0].width, frames[0].height)
        self._frames = crop(frames, box)
        self._inside = _Inside(frames[0], self._frames[0], box)
        self._shown = _Shown(self._frames[0], _display_matrix(frames[0]), pixel_aspect)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels, without enlarging anything."""
        return self._shown.size

    def images(self, width: int | None = None, height: int | None = None) -> Images:
        """uint8 `[T, height, width, 3]` RGB (sRGB's primaries and range of light); by default of full size.

        Shrinking averages areas. High dynamic range is tone-mapped.
        """
        return np.stack(list(self.pictures(width or self.size[0], height or self.size[1])))

    def pictures(self, width: int, height: int) -> Iterator[Images]:
        """The same one by one, `[height, width, 3]` each."""
        for frame in self._frames:
            yield np.ascontiguousarray(self._shown.turn(self._image(frame, width, height)))

    def greys(self, longer_side: int, count: int) -> Images:
        """uint8 `[N, H, W]`, see `Greys`: brightness in full range, of the codec's own where it has 8 bits."""
        width, height = size_within(*self.size, longer_side)
        size = self._as_coded(width, height)
        return np.stack([self._shown.turn(self._grey(i, *size)) for i in spread(count, len(self._frames))])

    def crop(self, picture: Picture) -> Picture:
        """The part inside the bars of another picture `[H, W, ...]` of the whole frame, upright and of any size."""
        return self._shown.turn(self._inside.crop(self._shown.turn_back(picture)))

    @property
    def _is_hdr(self) -> bool:
        return self._frames[0].color_trc in (PQ, HLG)

    def _as_coded(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self._shown.is_transposed else (width, height)

    def _image(self, frame: av.VideoFrame, width: int, height: int) -> Images:
        size = self._as_coded(width, height)
        if self._is_hdr:
            return tone_map(self._reformat(frame, *size, "rgb48le"), frame.color_trc)
        return np.asarray(cv2.merge(_planes(self._converted(frame, *size, "gbrp"))))

    def _grey(self, number: int, width: int, height: int) -> Images:
        frame = self._frames[number]
        if self._is_hdr:
            return np.asarray(cv2.cvtColor(self._image(frame, width, height), cv2.COLOR_RGB2GRAY))
        if frame.format.name not in _EIGHT_BIT_LUMA:
            return self._reformat(frame, width, height, "gray")
        if number not in self._halved:
            self._halved[number] = Halved(_luma(frame))
        return _full_range(frame, self._halved[number].shrunk(width, height))

    def _brightest(self, frames: Sequence[av.VideoFrame]) -> Brightest:
        """As coded: the largest grey value of each pixel over all times."""
        if frames[0].format.name not in _EIGHT_BIT_LUMA:

            @functools.cache
            def whole() -> Images:
                greys = [self._reformat(frame, frame.width, frame.height, "gray") for frame in frames]
                return np.asarray(np.max(greys, axis=0))

            return lambda part: whole()[part]
        lumas = [_luma(frame) for frame in frames]
        return lambda part: _full_range(frames[0], np.asarray(functools.reduce(cv2.max, [y[part] for y in lumas])))

    def _reformat(self, frame: av.VideoFrame, width: int, height: int, pixel_format: str) -> npt.NDArray[Any]:
        return np.asarray(self._converted(frame, width, height, pixel_format).to_ndarray())

    def _converted(self, frame: av.VideoFrame, width: int, height: int, pixel_format: str) -> av.VideoFrame:
        unknown = frame.colorspace == _UNSPECIFIED and min(frame.width, frame.height) >= _HD_LINES
        same = (width, height) == (frame.width, frame.height)
        return self._reformatter.reformat(
            frame,
            width,
            height,
            pixel_format,
            src_colorspace=Colorspace.ITU709 if unknown else None,
            interpolation=(Interpolation.BILINEAR if same else Interpolation.AREA) | Interpolation.ACCURATE_RND,
            threads=1,  # a worker has one core, and starting others for a picture costs more than the picture
        )


def _planes(frame: av.VideoFrame) -> list[Images]:
    """Red, green and blue of a picture in planes. To `rgb24` swscale takes twice as long where it scales, gives two
    grey levels too little at most widths, and halves the resolution of colour."""
    green, blue, red = (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
        for plane in frame.planes
    )
    return [red, green, blue]


def _luma(frame: av.VideoFrame) -> Images:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def _full_range(frame: av.VideoFrame, luma: Images) -> Images:
    """Brightness of the frame's first plane, 8 bits, as 0 to 255."""
    if frame.color_range == _FULL_RANGE or frame.format.name.startswith(("yuvj", "gray")):
        return luma
    return np.asarray(cv2.convertScaleAbs(cv2.max(luma, 16), alpha=255 / 219, beta=-16 * 255 / 219))


class _Shown:
    """How a player shows a stream: display matrix and shape of pixels."""

    def __init__(self, frame: av.VideoFrame, matrix: tuple[int, int, int, int], pixel_aspect: Fraction) -> None:
        aspect = float(pixel_aspect)
        width, height = frame.width, frame.height
        # Square pixels by shrinking one side; enlarging the other would make up detail.
        self.size = (width, max(1, round(height / aspect))) if aspect > 1 else (max(1, round(width * aspect)), height)
        a, b, c, d = matrix
        self.is_transposed = abs(b) > abs(a)
        if self.is_transposed:
            self.size = self.size[::-1]
        self.flip_x = (c if self.is_transposed else a) < 0
        self.flip_y = (b if self.is_transposed else d) < 0

    def turn(self, picture: Picture) -> Picture:
        """The picture `[H, W, ...]` that the codec gave, as shown."""
        if self.is_transposed:
            picture = picture.swapaxes(0, 1)
        return self._flip(picture)

    def turn_back(self, picture: Picture) -> Picture:
        """The picture `[H, W, ...]` that is shown, as a codec would have it."""
        picture = self._flip(picture)
        return picture.swapaxes(0, 1) if self.is_transposed else picture

    def _flip(self, picture: Picture) -> Picture:
        picture = picture[:, ::-1] if self.flip_x else picture
        return picture[::-1] if self.flip_y else picture


class _Inside:
    """The part inside the bars, as shares of a coded frame."""

    def __init__(self, whole: av.VideoFrame, inside: av.VideoFrame, box: Box) -> None:
        left, top = (edge + edge % 2 for edge in box[:2])  # as `crop` does
        self.columns = left / whole.width, (left + inside.width) / whole.width
        self.rows = top / whole.height, (top + inside.height) / whole.height

    def crop(self, picture: Picture) -> Picture:
        """That part of any picture `[H, W, ...]` of the frame."""
        rows, columns = (
            slice(*(min(length, round(length * share)) for share in shares))
            for length, shares in zip(picture.shape[:2], (self.rows, self.columns), strict=True)
        )
        return picture[rows, columns]


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """a, b, c, d: (x, y) of the coded picture is shown at (a x + c y, b x + d y), to within a shift and a scale."""
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side)[:36])
    return a, b, c, d
