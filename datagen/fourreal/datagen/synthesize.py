"""`fourreal synthesize`: pseudo-4D grids from ordinary videos.

fourreal synthesize --videos my_videos --out outputs/synthesized --views 8 --times 8 --height 96 --width 160
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from fourreal.datagen.clip_layers import FLAT, has_layers, layers_of
from fourreal.datagen.dataset_card import write_card
from fourreal.datagen.grid_job import GridJobConfig, run_or_tell
from fourreal.datagen.seeds import item_rng
from fourreal.datagen.selection.duplicates import MOST_BITS, mark_duplicates
from fourreal.datagen.selection.filters import ClipFilters
from fourreal.datagen.selection.judge import ClipJudge, StillScenesPolicy
from fourreal.datagen.selection.still_scenes import StillScenes, freeze_time_frames
from fourreal.datagen.statistics_page import write_statistics_page
from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.reader import ClipReader
from fourreal.datagen.videos.scan import list_windows
from fourreal.datagen.videos.sources import VideoSource
from fourreal.datagen.videos.timing import Timing
from fourreal.datagen.warps.augment import Augmentation, augment
from fourreal.datagen.warps.layers import Layers
from fourreal.datagen.warps.paths import LARGEST_DEPTH_RATIO, LARGEST_MAGNITUDE, PLANAR_FAMILIES, parallax_path
from fourreal.datagen.warps.placement import plan_warp
from fourreal.datagen.warps.synthesis import Memory, synthesize
from fourreal.platform.config import command
from fourreal.platform.datajob import DataJob, Item, ItemFailure, JobSummary, run_data_job
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.storage import Storage

Range = tuple[float, float]
_PACKAGES = ("fourreal", "av", "opencv-python-headless", "numpy")
"""Named with their versions on the dataset card."""
_UNKNOWN = (
    "Of videos marked *unknown*, nothing says who may use them, and being found somewhere is no licence: ask before "
    "grids of them are passed on. A file NAME.json beside NAME.mp4 may state `licence`, `title`, `author` and `url`."
)


@dataclass(frozen=True, kw_only=True)
class Config(GridJobConfig):
    """Turn ordinary videos into pseudo-4D grids: every view is the same clip under its own 2D transforms."""

    videos: str
    """Folder or s3:// prefix (searched to any depth for videos and WebDataset .tar), one file, or a list (.txt)."""
    stride: int = 2
    """Frames of the video from one time to the next, at its average rate; frames are chosen by when they are shown."""
    fps: float | None = None
    """Times a second of a grid, instead of --stride."""
    clips_per_video: int = 8
    """At most this many clips of one file, one from each of as many parts of equal length."""
    search_s: float = 60.0
    """A clip is sought in so much of its part, from the beginning."""
    clip_limit_s: float = 120.0
    """A clip that takes longer to read goes to quarantine."""
    items_per_shard: int = 8
    """Grids in a shard; clips of one file share one where they fit, so that it is decoded once."""
    family: Literal["affine", "homography", "parallax", "mixed"] = "mixed"
    """affine; homography: a virtual camera before a plane; parallax: before two or three layers, which needs a mask
    (NAME.mask.mp4) or depth (NAME.depth.npy) beside the video; mixed draws one of those possible for each grid, and
    one of the first two where a clip has nothing in front."""
    magnitude: Range = (0.3, 1.2)
    """Scales the path, drawn for each grid: at 1 the last view is up to 15 percent moved, 15 degrees orbited or 20
    percent zoomed."""
    depth_ratio: Range = (1.2, 1.8)
    """Where a mask does not say: how many times as far as the foreground the background is, drawn for each grid."""
    augment: tuple[Augmentation, ...] = ()
    """Each of these is done to about half of the grids. Training reverses views by itself."""
    filters: ClipFilters = field(default_factory=ClipFilters)
    """What is refused."""
    still_scenes: StillScenesPolicy = "keep"
    """Clips of still scenes before a moving camera become freeze-time grids (the clip is the path over views, all times
    are the same; needs as many --times as --views), are skipped, or are the only ones taken."""
    still: StillScenes = field(default_factory=StillScenes)
    """Which clips these are."""
    duplicate_distance: int | None = 7
    """A window whose key frames all look like those of an earlier file is refused: perceptual hashes of 64 bits, of
    which so many may differ (0 to 11; unrelated pictures differ in 32 or so). None turns the search off."""

    NOT_DECIDING_BYTES = GridJobConfig.NOT_DECIDING_BYTES | {"clip_limit_s"}
    AT_LEAST_ONE = (*GridJobConfig.AT_LEAST_ONE, "stride", "clips_per_video")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least, most in (("magnitude", 0.0, LARGEST_MAGNITUDE), ("depth_ratio", 1.1, LARGEST_DEPTH_RATIO)):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"{flag} takes two numbers, {least:g} <= LOW <= HIGH <= {most:g}, not {low} {high}")
        if self.fps is not None and not 0.0 < self.fps <= 1000.0:
            raise UserError(f"--fps must be between 0 and 1000, not {self.fps}")
        if self.still_scenes == "only" and self.views > self.times:
            raise UserError(
                "--still-scenes only makes views of a clip's frames: give at least as many --times as --views"
            )
        for name in ("search_s", "clip_limit_s"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"--{name.replace('_', '-')} must be more than 0, not {getattr(self, name)}")
        if self.duplicate_distance is not None and not 0 <= self.duplicate_distance <= MOST_BITS:
            raise UserError(f"--duplicate-distance must be between 0 and {MOST_BITS}, not {self.duplicate_distance}")

    @property
    def timing(self) -> Timing:
        """When the frames of a clip are."""
        return Timing(self.times, self.stride, self.fps)


class Synthesizer:
    """Turns clips into grids."""

    def __init__(self, config: Config) -> None:
        self.config = config
        judge = ClipJudge(
            config.filters, config.height, config.width, still=config.still, still_scenes=config.still_scenes
        )
        self.reader = ClipReader(config.timing, judge, limit_s=config.clip_limit_s)
        self._memory = Memory()
        self._layered: tuple[VideoSource, bool] | None = None
        """Whether the last file has layers beside it: to look takes a dozen requests in an object store."""

    def process(self, item: Item) -> Grid:
        """See `Processor`."""
        c = self.config
        if original := item.spec.get("duplicate_of"):
            message = f"its key frames look like {original}'s (--duplicate-distance {c.duplicate_distance})"
            raise ItemFailure("plan", "duplicate", message)
        clip = self.reader.read(item)
        rng = item_rng(c.seed, item.key)
        if c.still.holds(clip.statistics) and c.views <= c.times:
            return self._freeze_time(item, clip, rng)
        source = VideoSource.from_spec(item.spec)
        family, layers = self._draw_family(source, clip, rng)
        magnitude, aspect = float(rng.uniform(*c.magnitude)), c.width / c.height
        if layers is not None:
            path = parallax_path(c.views, aspect, rng, magnitude, layers.inverse_depths)
        else:
            path = PLANAR_FAMILIES[family](c.views, aspect, rng, magnitude)
        try:
            warp = plan_warp(path, clip.size, c.height, c.width, rng)
        except ValueError as error:
            raise ItemFailure("warp", "too_small", str(error)) from None
        soft = layers.softened(warp.shrunk_size) if layers is not None else None
        # Twice the size where the video has it: what lies between the pixels of view 0 need not be made up then.
        twice = 2 if soft is None and all(2 * n <= of for n, of in zip(warp.shrunk_size, clip.size, strict=True)) else 1
        pictures = clip.pictures(*(twice * n for n in warp.shrunk_size))
        views = synthesize(pictures, c.times, warp, c.height, c.width, soft, self._memory)
        views, applied = augment(views, c.augment, rng)
        provenance: dict[str, Any] = {"family": family, "magnitude": round(magnitude, 6), "augmented": applied}
        if layers is not None:
            provenance["layers"] = [
                {"inverse_depth": round(nearness, 6), "homographies": of_layer.tolist()}
                for nearness, of_layer in zip(layers.inverse_depths, views.homographies, strict=True)
            ]
        homographies = np.repeat(views.homographies[0, :, None], c.times, axis=1)
        meta = self._meta(item, clip, provenance)
        return Grid(frames=views.frames, meta=meta, mask=views.mask, homographies=homographies)

    def _draw_family(self, source: VideoSource, clip: Clip, rng: np.random.Generator) -> tuple[str, Layers | None]:
        """The family of a clip's path, and its layers where that takes them. Raises ItemFailure."""
        family: str = self.config.family
        planar = sorted(PLANAR_FAMILIES)
        if family == "mixed":
            if self._layered is None or self._layered[0] != source:
                self._layered = source, has_layers(source)
            family = str(rng.choice([*planar, *(["parallax"] if self._layered[1] else [])]))
        if family != "parallax":
            return family, None
        try:
            return family, layers_of(source, clip, float(rng.uniform(*self.config.depth_ratio)))
        except ItemFailure as failure:
            if self.config.family == "mixed" and failure.reason == FLAT:
                return str(rng.choice(planar)), None  # nothing is in front here: the clip is as good as any without
            raise

    def _freeze_time(self, item: Item, clip: Clip, rng: np.random.Generator) -> Grid:
        c = self.config
        try:
            frames = freeze_time_frames(clip, c.views, c.height, c.width, rng)
        except ValueError as error:
            raise ItemFailure("warp", "too_small", str(error)) from None
        return Grid(frames=frames, meta=replace(self._meta(item, clip, {"family": "still"}), kind="freeze_time"))

    def _meta(self, item: Item, clip: Clip, provenance: Mapping[str, Any]) -> GridMeta:
        c = self.config
        return GridMeta(
            key=item.key,
            source_uri=item.source,
            source_sha256=str(item.spec["sha256"]),
            caption=str(item.spec["caption"]),
            licence=str(item.spec["licence"]),
            fps=clip.fps,
            seed=c.seed,
            settings={name: getattr(c, name) for name in ("stride", "fps")},
            motion={name: round(value, 6) for name, value in clip.statistics.items()},
            provenance={
                "job": "synthesize",
                "start_s": round(clip.times_s[0], 6),
                "attribution": item.spec["attribution"],
                **provenance,
            },
        )

    def close(self) -> None:
        """See `Processor`."""
        self.reader.close()


def _list_items(config: Config) -> Iterable[Item]:
    windows = list_windows(config.videos, config.timing, config.clips_per_video, config.search_s)
    return windows if config.duplicate_distance is None else mark_duplicates(windows, config.duplicate_distance)


def data_job(config: Config) -> DataJob:
    """The job that this configuration asks for."""
    return config.data_job(
        "synthesize",
        list_items=lambda: _list_items(config),
        make_processor=functools.partial(Synthesizer, config),
    )


def run(config: Config) -> JobSummary:
    """Run the job, or go on with it."""
    summary = run_data_job(data_job(config))
    out = Storage(config.out)
    write_card(out, summary, _PACKAGES, source="video", unknown=_UNKNOWN)
    write_statistics_page(out, "synthesize", summary)
    return summary


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, lambda c: run_or_tell(c, data_job, run), argv, prog="fourreal synthesize")


if __name__ == "__main__":
    raise SystemExit(main())
