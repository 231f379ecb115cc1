"""`fourreal sample-videos`: short videos drawn from a seed, to try `synthesize` on where there are none.

    fourreal sample-videos --out outputs/videos --count 6

They are ordinary H.264 files: textured shapes that drift, turn and pass in front of one another before a textured
background. Real footage is better training data; this one needs no download. A file beside each says that anyone may
use it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.datagen.seeds import item_rng
from fourreal.platform.config import command
from fourreal.platform.errors import UserError
from fourreal.platform.video import write_video

Image = npt.NDArray[np.float32]

_SUPERSAMPLING = 2
_DESCRIPTION = {"licence": "CC0-1.0", "author": "fourreal sample-videos"}


@dataclass(frozen=True)
class Config:
    """Draw short videos of moving textured shapes."""

    out: Path
    """Local folder for the videos."""
    count: int = 6
    """How many."""
    frames: int = 64
    """Frames of a video."""
    height: int = 180
    """Height of a frame, pixels."""
    width: int = 320
    """Width of a frame, pixels."""
    fps: float = 24.0
    """Frames per second."""
    seed: int = 0
    """Decides the content; video i is the same however many there are."""

    def __post_init__(self) -> None:
        if min(self.count, self.frames) < 1 or min(self.height, self.width) < 16:
            raise UserError("--count and --frames must be at least 1, --height and --width at least 16")
        if not self.fps >= 1.0:
            raise UserError(f"--fps must be at least 1, not {self.fps}")


@dataclass(frozen=True)
class _Shape:
    """A textured outline on a path."""

    outline: npt.NDArray[np.float64]
    """Corners `[N, 2]` about the origin, picture heights."""
    texture: Image
    start: npt.NDArray[np.float64]
    velocity: npt.NDArray[np.float64]
    """Picture heights a second."""
    turn: float
    """Radians a second."""
    swing: float
    """Picture heights that it swings up and down."""


def draw_video(config: Config, index: int) -> npt.NDArray[np.uint8]:
    """Frames `[N, H, W, 3]` of the video of this index."""
    rng = item_rng(config.seed, f"video-{index}")
    H, W = config.height * _SUPERSAMPLING, config.width * _SUPERSAMPLING
    background = _texture(rng, H, W)
    shapes = [_shape(rng, H, W) for _ in range(int(rng.integers(2, 5)))]
    frames = [_draw(background, shapes, i / config.fps) for i in range(config.frames)]
    return np.stack([cv2.resize(f, (config.width, config.height), interpolation=cv2.INTER_AREA) for f in frames])


def _texture(rng: np.random.Generator, height: int, width: int) -> Image:
    """Coloured noise with a natural spectrum (amplitude falls as 1/f) about a random colour; float 0 to 255."""
    total = np.zeros((height, width, 3), np.float32)
    cells = 3
    while cells < height // 2:
        coarse = rng.normal(0.0, 1.0, (cells, max(1, cells * width // height), 3)).astype(np.float32)
        coarse = 0.3 * coarse + 0.7 * coarse[..., :1]  # light varies more than colour, as in photographs
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / cells
        cells *= 2
    colour = rng.uniform(60, 195) + rng.uniform(-50, 50, 3).astype(np.float32)
    return np.clip(colour + 130.0 * total, 0, 255).astype(np.float32)


def _shape(rng: np.random.Generator, height: int, width: int) -> _Shape:
    corners = int(rng.choice([3, 4, 5, 24]))  # 24 looks round
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if corners < 6 else np.linspace(0, 2 * np.pi, corners)
    size = rng.uniform(0.12, 0.3)
    radii = size * (rng.uniform(0.7, 1.0, corners) if corners < 6 else np.ones(corners))
    return _Shape(
        outline=np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1),
        texture=_texture(rng, height, width),
        start=rng.uniform([0.2 * width / height, 0.2], [0.8 * width / height, 0.8]),
        velocity=rng.uniform(-0.35, 0.35, 2),
        turn=float(rng.uniform(-1.5, 1.5)),
        swing=float(rng.uniform(0.0, 0.1)),
    )


def _draw(background: Image, shapes: Sequence[_Shape], time_s: float) -> npt.NDArray[np.uint8]:
    picture = background.copy()
    height, width = picture.shape[:2]
    for shape in shapes:
        centre = shape.start + shape.velocity * time_s + [0.0, shape.swing * np.sin(4.0 * time_s)]
        centre = _bounce(centre, np.array([width / height, 1.0]))
        c, s = np.cos(shape.turn * time_s), np.sin(shape.turn * time_s)
        corners = (shape.outline @ np.array([[c, s], [-s, c]]) + centre) * height
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.round(corners * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
        to_texture = np.array([[c, -s, 0.0], [s, c, 0.0]])  # the texture turns and moves with its shape
        to_texture[:, 2] = centre * height - to_texture[:, :2] @ [0.5 * width, 0.5 * height]
        texture = cv2.warpAffine(shape.texture, to_texture, (width, height), borderMode=cv2.BORDER_REFLECT)
        alpha = (mask[..., None] / 255.0).astype(np.float32)
        picture += alpha * (texture - picture)
    return np.round(picture).astype(np.uint8)


def _bounce(position: npt.NDArray[np.float64], size: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Reflect a position at the picture's edges."""
    folded = np.mod(position, 2.0 * size)
    return np.asarray(np.where(folded > size, 2.0 * size - folded, folded))


def run(config: Config) -> None:
    """Draw the videos that are not there yet."""
    for index in range(config.count):
        path = config.out / f"sample-{config.seed:03d}-{index:03d}.mp4"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".json").write_text(json.dumps(_DESCRIPTION) + "\n")
            temporary = path.with_name(f".{path.name}")
            write_video(temporary, draw_video(config, index), config.fps)
            temporary.rename(path)
    print(f"{config.count} videos in {config.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, run, argv, prog="fourreal sample-videos")


if __name__ == "__main__":
    raise SystemExit(main())
