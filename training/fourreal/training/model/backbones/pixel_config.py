"""What the pixel-space transformer is made of, as plain frozen data, and the one dial that sets all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from fourreal.training.model.backbones.base import BackboneConfig, Prediction

Size = Literal["nano", "tiny", "small", "base", "large"]

# Depth is the dial: from tiny on, the trunk is 32 * depth wide and parameters grow as depth cubed (18.4 k * depth^3).
# nano is half as wide: in the minutes it is made for, width 64 learnt more than 96 and 128 (it sees more samples).
# Parameters:               0.3 M       4 M         32 M         147 M       604 M
_DEPTHS: dict[Size, int] = {"nano": 4, "tiny": 6, "small": 12, "base": 20, "large": 32}
_WIDTHS: dict[Size, int] = {"nano": 64, "tiny": 192, "small": 384, "base": 640, "large": 1024}
_HEAD_DIMS: dict[Size, int] = {"nano": 16, "tiny": 32, "small": 64, "base": 64, "large": 64}


@dataclass(frozen=True)
class PixelConfig(BackboneConfig):
    """Shape of the pixel-space transformer. Lengths in pixels, except `hidden_dim` (trunk width in numbers).

    `references`: whether given frames are added to the tokens of the others (`references.py`).
    `refinement`: channels of the convolutions that mend predicted frames (`refinement.py`); 0 is none.
    `condition_channels`: channels that are read behind the noisy ones of every frame, and not predicted.
    Raises ValueError when fields do not fit each other.
    """

    height: int = 32
    width: int = 48
    patch_size: int = 4
    hidden_dim: int = 64
    depth: int = 4
    heads: int = 4
    channels: int = 3
    condition_channels: int = 0
    prediction: Prediction = "clean"
    references: bool = False
    refinement: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("height", "width", "patch_size", "hidden_dim", "depth", "heads", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a positive number")
        for name in ("condition_channels", "refinement"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give 0 or more")
        if self.refinement and self.prediction == "velocity":
            raise ValueError("refinement mends clean frames, and the prediction is velocity; choose clean or residual")
        if self.condition_channels and (self.references or self.refinement):
            raise ValueError(
                "references and refinement read given frames, and a model with condition channels, which an upsampler "
                "is, is given none; leave them out"
            )
        for name in ("height", "width"):
            size = getattr(self, name)
            if size % self.patch_size:
                low = size // self.patch_size * self.patch_size
                raise ValueError(
                    f"{name} {size} is not a multiple of the patch size {self.patch_size}; "
                    f"use {low or self.patch_size} or {low + self.patch_size}, or another patch size"
                )
        if self.hidden_dim % self.heads:
            raise ValueError(f"hidden_dim {self.hidden_dim} does not split into {self.heads} heads; use a multiple")
        if self.head_dim % 2 or self.head_dim < 6:
            raise ValueError(
                f"a head of {self.head_dim} numbers cannot carry rotary positions on three axes; "
                f"make hidden_dim / heads even and at least 6"
            )

    @property
    def head_dim(self) -> int:
        """Numbers of one attention head."""
        return self.hidden_dim // self.heads

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Patches along y and along x."""
        return self.height // self.patch_size, self.width // self.patch_size

    @classmethod
    def of_size(cls, size: str, **overrides: Any) -> PixelConfig:
        """The model of a named size; `overrides` replace single fields. ValueError for an unknown name."""
        if size not in get_args(Size):
            raise ValueError(f"model size {size!r} is unknown; choose one of {', '.join(get_args(Size))}")
        name = cast(Size, size)
        width = _WIDTHS[name]
        sized: dict[str, Any] = {"depth": _DEPTHS[name], "hidden_dim": width, "heads": width // _HEAD_DIMS[name]}
        return cls(**{**sized, **overrides})
