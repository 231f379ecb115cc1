"""`fourreal synthesize`: pseudo-4D grids from a folder of ordinary videos.

fourreal synthesize --videos my_videos --out outputs/synthesized --views 8 --times 8 --height 96 --width 160
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fourreal.datagen.clips import ClipReader, crop_bars, list_clips
from fourreal.datagen.grid_job import GridJobConfig, run_or_estimate
from fourreal.datagen.seeds import item_rng
from fourreal.datagen.statistics_page import write_statistics_page
from fourreal.datagen.synthesis import Frames, plan_warp, synthesize
from fourreal.datagen.view_paths import FAMILIES
from fourreal.platform.config import command
from fourreal.platform.datajob import DataJob, Item, ItemFailure, JobSummary, run_data_job
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Config(GridJobConfig):
    """Turn ordinary videos into pseudo-4D grids: every view is the same clip under its own 2D transform."""

    videos: str
    """Folder of videos (searched to any depth), local or s3://."""
    stride: int = 2
    """Frames of the video from one time to the next."""
    clips_per_video: int = 8
    """At most this many clips of one file, spread over its whole length."""
    family: Literal["affine", "homography", "mixed"] = "mixed"
    """Kind of the path over views; mixed draws one of the others for each grid."""
    magnitude: float = 1.0
    """Scales the path: at 1 the last view is up to 15 percent moved, 15 degrees orbited or 20 percent zoomed."""

    AT_LEAST_ONE = (*GridJobConfig.AT_LEAST_ONE, "stride", "clips_per_video")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.magnitude <= 2.0:
            raise UserError(f"--magnitude must be between 0 and 2, not {self.magnitude}")


class Synthesizer:
    """Turns clips into grids."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.reader = ClipReader(Storage(config.videos))

    def process(self, item: Item) -> Grid:
        """See `Processor`."""
        c = self.config
        clip = crop_bars(self.reader.read(item, c.times, c.stride))
        rng = item_rng(c.seed, item.key)
        family = str(rng.choice(sorted(FAMILIES))) if c.family == "mixed" else c.family
        path = FAMILIES[family](c.views, rng, c.magnitude)
        try:
            warp = plan_warp(path, (clip.shape[2], clip.shape[1]), c.height, c.width, rng)
        except ValueError as error:
            raise ItemFailure("warp", "too_small", str(error)) from None
        frames = synthesize(clip, warp, c.height, c.width)
        meta = GridMeta(
            key=item.key,
            source_uri=item.source,
            source_sha256=str(item.spec["sha256"]),
            fps=self.reader.info.fps / c.stride,
            seed=c.seed,
            settings={name: getattr(c, name) for name in ("stride", "magnitude")},
            motion={"mean_change_grey_levels": _mean_change(frames[0])},
            provenance={"job": "synthesize", "family": family, "start_frame": item.spec["start_frame"]},
        )
        homographies = np.repeat(warp.homographies[:, None], c.times, axis=1)
        return Grid(frames=frames, meta=meta, homographies=homographies)

    def close(self) -> None:
        """See `Processor`."""
        self.reader.close()


def _mean_change(frames: Frames) -> float:
    """Mean absolute change from one time to the next, grey levels."""
    if len(frames) < 2:
        return 0.0
    return round(float(np.abs(np.diff(frames.astype(np.int16), axis=0)).mean()), 3)


def data_job(config: Config) -> DataJob:
    """The job that this configuration asks for."""
    folder = Storage(config.videos)
    return config.data_job(
        "synthesize",
        list_items=lambda: list_clips(folder, config.times, config.stride, config.clips_per_video),
        make_processor=functools.partial(Synthesizer, config),
    )


def run(config: Config) -> JobSummary:
    """Run the job, or go on with it."""
    summary = run_data_job(data_job(config))
    write_statistics_page(Storage(config.out), "synthesize", summary)
    return summary


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, lambda c: run_or_estimate(c, data_job, run), argv, prog="fourreal synthesize")


if __name__ == "__main__":
    raise SystemExit(main())
