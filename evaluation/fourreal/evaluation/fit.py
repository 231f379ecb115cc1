"""Making grids fit a frame size: which part of the frame is kept and what becomes of everything that lies in pixels.

The same `Fit` that generate applied to its conditions is recorded with the result, so that evaluate compares with
the reference cut and resized in exactly that way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.platform.grid import Grid

FitMode = Literal["crop", "stretch"]
"""`crop` keeps the aspect ratio and cuts the middle out; `stretch` keeps the whole frame."""

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Fit:
    """Cut the box (top, left, box_height, box_width) out of frames of one size, then resize it; all in pixels.

    Smaller by INTER_AREA (the mean of the pixels covered), larger by INTER_LINEAR.
    """

    source_height: int
    source_width: int
    top: int
    left: int
    box_height: int
    box_width: int
    height: int
    width: int

    @classmethod
    def between(cls, source: tuple[int, int], target: tuple[int, int], mode: FitMode = "crop") -> Fit:
        """The fit from frames of `source` (height, width) to frames of `target` (height, width)."""
        H, W = source
        height, width = target
        if mode == "stretch":
            return cls(H, W, 0, 0, H, W, height, width)
        box_height = min(H, max(1, round(W * height / width)))
        box_width = min(W, max(1, round(H * width / height)))
        return cls(H, W, (H - box_height) // 2, (W - box_width) // 2, box_height, box_width, height, width)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Fit:
        """The inverse of `dataclasses.asdict`. ValueError for anything else."""
        names = [field.name for field in dataclasses.fields(cls)]
        if set(record) != set(names) or not all(isinstance(record[name], int) for name in names):
            raise ValueError(f"a fit has the whole numbers {', '.join(names)}, not {dict(record)}")
        fit = cls(**record)
        inside = fit.top + fit.box_height <= fit.source_height and fit.left + fit.box_width <= fit.source_width
        if not inside or min(record.values()) < 0 or 0 in (fit.box_height, fit.box_width, fit.height, fit.width):
            raise ValueError(f"the box of this fit does not lie in its frames: {dict(record)}")
        return fit

    def __str__(self) -> str:
        box = f"cut to {self.box_height}x{self.box_width} and " if self._cuts else ""
        return f"{self.source_height}x{self.source_width} {box}resized to {self.height}x{self.width}"

    @property
    def _cuts(self) -> bool:
        return (self.box_height, self.box_width) != (self.source_height, self.source_width)

    def images(self, images: Images) -> Images:
        """uint8 `[..., H, W, 3]` to `[..., height, width, 3]`."""
        flat = images.reshape(-1, *images.shape[-3:])
        return np.stack([self._one(image) for image in flat]).reshape(*images.shape[:-3], self.height, self.width, 3)

    def masks(self, masks: Images) -> Images:
        """uint8 `[..., H, W]` to `[..., height, width]`; coverage stays coverage."""
        flat = masks.reshape(-1, *masks.shape[-2:])
        return np.stack([self._one(mask) for mask in flat]).reshape(*masks.shape[:-2], self.height, self.width)

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """`[3, 3]`, from pixels of the source to pixels of the result (pixel centres at +.5 in both)."""
        sx, sy = self.width / self.box_width, self.height / self.box_height
        return np.array([[sx, 0.0, -self.left * sx], [0.0, sy, -self.top * sy], [0.0, 0.0, 1.0]])

    def grid(self, grid: Grid) -> Grid:
        """The grid with frames, mask, intrinsics and homographies fitted; depth, normals and flow are left out.

        (They describe surfaces pixel by pixel: resized, they would hold values that are nowhere true.)
        """
        A = self.matrix
        homographies = None
        if grid.homographies is not None:
            homographies = A @ grid.homographies @ np.linalg.inv(A)
        return dataclasses.replace(
            grid,
            frames=self.images(grid.frames),
            mask=None if grid.mask is None else self.masks(grid.mask),
            depth=None,
            normals=None,
            flow=None,
            intrinsics=None if grid.intrinsics is None else A @ grid.intrinsics,
            homographies=homographies,
        )

    def _one(self, image: Images) -> Images:
        box = image[self.top : self.top + self.box_height, self.left : self.left + self.box_width]
        if box.shape[:2] == (self.height, self.width):
            return box
        smaller = self.height <= self.box_height and self.width <= self.box_width
        interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        resized: Images = cv2.resize(np.ascontiguousarray(box), (self.width, self.height), interpolation=interpolation)
        return resized
