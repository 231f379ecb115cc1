"""One generated grid from one grid of conditions: the worker's side of `fourreal generate`."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from fourreal.evaluation.exported import frame_size, model_sha256, read_pipeline, upsampled_size
from fourreal.evaluation.fit import Fit, FitMode
from fourreal.evaluation.given import GIVEN, Border, border_mask, border_record
from fourreal.evaluation.planned_grids import planned_grid
from fourreal.evaluation.shelf import Shelf
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.grid import Grid
from fourreal.platform.storage import Storage
from fourreal.training.model import Conditions, Generated, Guidance, Pipeline, Sampling, Windows
from fourreal.training.model.sampling import SamplerName

Device = Literal["cpu", "cuda"]

_WHOLE_AXIS = 1_000_000  # more than a grid has: windows that are cut along the other axis alone


@dataclass(frozen=True)
class GeneratorSettings:
    """What decides the pixels besides the conditions. Plain, so that it travels and is recorded."""

    model_sha256: str
    steps: int
    seed: int
    fit: FitMode
    device: Device
    sampler: SamplerName = "euler"
    shift: float = 1.0
    guidance: float = 1.0
    given: Border = "border"
    window_views: int | None = None
    window_times: int | None = None
    overlap_views: int = 1
    overlap_times: int = 1
    check_overlaps: bool = False
    upsampler_sha256: str | None = None
    upsampler_steps: int = 4
    upsampler_augmentation: float = 0.0

    @property
    def sampling(self) -> Sampling:
        """How samples are drawn. ValueError for settings that make no sense."""
        return Sampling(self.steps, self.sampler, self.shift, Guidance(frames=self.guidance))

    @property
    def windows(self) -> Windows | None:
        """The windows that larger grids are made in; None: at once. ValueError when they do not fit each other."""
        if self.window_views is None and self.window_times is None:
            return None
        return Windows(
            views=_WHOLE_AXIS if self.window_views is None else self.window_views,
            times=_WHOLE_AXIS if self.window_times is None else self.window_times,
            view_overlap=self.overlap_views,
            time_overlap=self.overlap_times,
            check=self.check_overlaps,
        )


def sample_seed(seed: int, key: str) -> int:
    """The seed of one grid's noise: the same wherever and beside whatever the grid is made."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big") >> 1


class GridGenerator:
    """Makes one grid at a time; holds the model and the shard that it read last."""

    def __init__(
        self, model_uri: str, conditions_uri: str, settings: GeneratorSettings, upsampler_uri: str | None = None
    ) -> None:
        self.model_uri = model_uri
        self.upsampler_uri = upsampler_uri
        self.conditions = Storage(conditions_uri)
        self.settings = settings
        torch.set_num_threads(1)  # one core a worker; and sums in one order, so that the bytes are always the same

    def process(self, item: Item) -> Grid:
        """The grid of `item`. Raises ItemFailure when its conditions cannot be used."""
        source = self._source(item)
        pipeline = self._pipeline
        fit = Fit.between((source.height, source.width), frame_size(pipeline.model.config), self.settings.fit)
        conditions = fit.grid(source)
        seed = sample_seed(self.settings.seed, item.key)
        made = self._generate(conditions, seed)
        if pipeline.upsampler is not None:
            height, width = upsampled_size(pipeline.upsampler)
            fit = dataclasses.replace(fit, height=height, width=width)
            conditions = fit.grid(source)
            made = self._upsample(made, conditions, fit, seed)
        meta = dataclasses.replace(
            source.meta,
            seed=seed,
            settings=dataclasses.asdict(self.settings),
            motion={},  # measured on the source; of what was generated nothing is known yet
            provenance={
                GIVEN: border_record(self.settings.given),
                "job": "generate",
                "model_sha256": self.settings.model_sha256,
                **made.record,
                "seed": self.settings.seed,
                "fit": dataclasses.asdict(fit),
                "source_grid": {
                    "address": item.source,
                    "shard_sha256": item.spec["shard_sha256"],
                    "provenance": dict(source.meta.provenance),
                },
            },
        )
        return dataclasses.replace(conditions, frames=made.frames, meta=meta)

    def close(self) -> None:
        """Nothing to release."""

    @cached_property
    def _shelf(self) -> Shelf:
        return Shelf(self.conditions)

    @cached_property
    def _pipeline(self) -> Pipeline:
        device = torch.device(self.settings.device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ItemFailure("load", "no_cuda", "this worker sees no CUDA device: use --device cpu")
        planned = ((self.model_uri, self.settings.model_sha256), (self.upsampler_uri, self.settings.upsampler_sha256))
        for uri, sha256 in planned:
            if uri is not None and model_sha256(uri) != sha256:
                raise ItemFailure("load", "model_changed", f"{uri} changed since the plan: use another --out")
        pipeline = read_pipeline(self.model_uri, self.upsampler_uri)
        pipeline.to(device)
        return pipeline

    def _source(self, item: Item) -> Grid:
        source = planned_grid(self._shelf, item)
        if border_mask(self.settings.given, source.views, source.times).all():
            message = f"a grid of {source.views} views and {source.times} times leaves nothing to generate"
            raise ItemFailure("read", "nothing_to_generate", message)
        return source

    def _generate(self, grid: Grid, seed: int) -> Generated:
        """The grid with all but the given frames made anew."""
        given = border_mask(self.settings.given, grid.views, grid.times)
        try:
            return self._pipeline.fill(
                Conditions(grid.frames, given), self.settings.sampling, seed=seed, windows=self.settings.windows
            )
        except FloatingPointError as error:
            raise ItemFailure("generate", "not_finite", str(error)) from None

    def _upsample(self, made: Generated, conditions: Grid, fit: Fit, seed: int) -> Generated:
        """What was made, at the size of the fitted conditions.

        Given frames are those of the source where it has that many pixels; else the upsampler makes them like the rest.
        """
        settings = self.settings
        sampling, augmentation = Sampling(settings.upsampler_steps), settings.upsampler_augmentation
        try:
            frames = self._pipeline.upsample(made.frames, sampling, seed=seed, augmentation=augmentation)
        except FloatingPointError as error:
            raise ItemFailure("upsample", "not_finite", str(error)) from None
        from_source = fit.box_height >= fit.height
        if from_source:
            frames[made.given] = conditions.frames[made.given]
        record = {
            "sha256": settings.upsampler_sha256,
            "steps": sampling.steps,
            "augmentation": augmentation,
            "given_frames": "source" if from_source else "upsampled",
        }
        return Generated(frames, made.given, {**made.record, "upsampler": record})


def make_generator(
    model_uri: str, upsampler_uri: str | None, conditions_uri: str, settings: dict[str, Any]
) -> GridGenerator:
    """What a worker process calls; plain arguments, so that they travel by pickle."""
    return GridGenerator(model_uri, conditions_uri, GeneratorSettings(**settings), upsampler_uri)
