"""Makes pictures/demo.webp from what the demo made: grids side by side, once around their views and times.

    python infra/animation.py [--demo outputs/demo] [--out infra/pictures/demo.webp]

Along time in the first view, along the views at the last time, and the same way back.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fourreal.platform.grid import Grid
from fourreal.platform.shards import read_grids
from fourreal.platform.storage import Storage

ENLARGED = 2
LINE_PX = 18
FRAME_MS = 220
SHOWN = {"rendered": (0, 1, 2), "synthesized": (3,)}
"""Grids, by their place in each folder of the demo."""


def chosen(demo: Path) -> list[Grid]:
    """The grids that are shown."""
    grids = []
    for folder, places in SHOWN.items():
        first = list(islice(read_grids(Storage(str(demo / folder))), max(places) + 1))
        grids += [first[place].decode() for place in places]
    return grids


def around(views: int, times: int) -> list[tuple[int, int]]:
    """(view, time) once around the border of a grid."""
    there = [(0, t) for t in range(times)] + [(v, times - 1) for v in range(1, views)]
    return (
        there + [(views - 1, t) for t in reversed(range(times - 1))] + [(v, 0) for v in reversed(range(1, views - 1))]
    )


def picture(grids: list[Grid], view: int, time: int) -> Image.Image:
    """One picture of the animation: the same frame of all grids, and which it is."""
    row = np.concatenate([grid.frames[view, time] for grid in grids], axis=1)
    height, width = row.shape[0] * ENLARGED, row.shape[1] * ENLARGED
    image = Image.new("RGB", (width, height + LINE_PX), "white")
    image.paste(Image.fromarray(row).resize((width, height), Image.Resampling.BICUBIC))
    ImageDraw.Draw(image).text((4, height + 3), f"view {view}   time {time}", fill="black")
    return image


def main() -> None:
    """Make the animation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("outputs/demo"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures/demo.webp")
    arguments = parser.parse_args()
    grids = chosen(arguments.demo)
    views, times = grids[0].frames.shape[:2]
    first, *others = [picture(grids, view, time) for view, time in around(views, times)]
    first.save(arguments.out, save_all=True, append_images=others, duration=FRAME_MS, loop=0, quality=85, method=6)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
