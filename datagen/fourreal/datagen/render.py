"""`fourreal render`: view-time grids of animated 3D assets, by Blender.

fourreal render --assets my_models --out outputs/rendered --views 8 --times 8 --height 96 --width 160
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fourreal.datagen.assets import AssetSource, list_assets, open_assets
from fourreal.datagen.blender.background import choose_background, outline_of
from fourreal.datagen.blender.devices import CPU
from fourreal.datagen.blender.failure import WorkerFailure
from fourreal.datagen.blender.framing import build_scene
from fourreal.datagen.blender.ground import draw_ground, probe_of
from fourreal.datagen.blender.pixels import RenderedPixels
from fourreal.datagen.blender.scene import Clip, Scene
from fourreal.datagen.blender.timing import frames_per_second, part_of
from fourreal.datagen.blender.worker import BlenderWorker, Limits, LoadedAsset
from fourreal.datagen.dataset_card import write_card
from fourreal.datagen.draws import describe_draws
from fourreal.datagen.filters import check
from fourreal.datagen.gltf_buffers import read_file
from fourreal.datagen.gltf_clips import clips_of
from fourreal.datagen.gltf_file import BadGltf
from fourreal.datagen.grid_job import run_or_tell
from fourreal.datagen.render_config import Config
from fourreal.datagen.render_device import device_of
from fourreal.datagen.scene_items import group_items, group_preparation, objects_of
from fourreal.datagen.seeds import item_rng
from fourreal.datagen.staging import Member, Stage, item_failure, named_in_failures, set_stage
from fourreal.datagen.statistics import hull_areas, pixel_statistics
from fourreal.datagen.statistics_page import write_statistics_page
from fourreal.platform.config import command
from fourreal.platform.datajob import DataJob, Item, ItemFailure, JobSummary, run_data_job
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.storage import Storage

_PACKAGES = ("fourreal", "bpy", "numpy", "objaverse")
"""Named with their versions on the dataset card."""
_IN_EVERY_GRID = ("samples", "fps", "stride", "start_s", "duration_s")
"""Settings that a grid's metadata name; what was drawn for it is in its provenance."""


class Renderer:
    """Turns assets into grids, with one Blender child that starts with the first of them."""

    def __init__(self, config: Config, device: str = CPU) -> None:
        """`device` is one of those of `choose_device`."""
        self.config = config
        self.device = device
        self.source = open_source(config)
        limits = Limits(timeout_s=config.timeout_s, memory_bytes=int(config.memory_gib * 2**30))
        self.worker = BlenderWorker(limits)

    def process(self, item: Item) -> Grid:
        """See `Processor`."""
        try:
            return self._render(item)
        except WorkerFailure as failure:
            raise item_failure(failure) from None

    def close(self) -> None:
        """See `Processor`."""
        self.worker.close()
        self.source.close()

    def _render(self, item: Item) -> Grid:
        c = self.config
        rng = item_rng(c.seed, item.key)
        parts = objects_of(item)
        members = [self._member(part, alone=len(parts) == 1) for part in parts]
        stage = set_stage(members, self.worker, c.times, c.step_s, rng)
        times_s = stage.times_s
        scene = build_scene(
            stage.actors,
            times_s,
            stage.measurement,
            views=c.views,
            height=c.height,
            width=c.width,
            samples=c.samples,
            rng=rng,
            camera=c.camera,
            light=c.light,
            device=self.device,
            on_ground=c.ground_kind != "none",
        )
        statistics = stage.check(scene, c.filters)
        if c.ground_kind != "none":
            scene = self._on_ground(scene, stage, rng)
        pixels = self.worker.render(scene, outputs=c.outputs)
        if not np.isfinite(pixels.colour[:, :, *pixels.window]).all():
            raise ItemFailure("filter", "nan_pixels", "the render holds values that are no numbers")
        statistics |= pixel_statistics(pixels, hull_areas(scene, stage.measured_in(scene)))
        check(statistics, c.filters, times=c.times)
        background = choose_background(outline_of(pixels, scene), c.background, rng)
        meta = GridMeta(
            key=item.key,
            source_uri=item.source,
            source_sha256=stage.sha256,
            licence=str(item.spec["licence"]),
            fps=frames_per_second(times_s, c.step_s),
            seed=c.seed,
            settings={name: getattr(c, name) for name in _IN_EVERY_GRID},
            motion={name: round(value, 6) for name, value in statistics.items()},
            provenance={
                "job": "render",
                **stage.provenance(scene),
                "start_s": times_s[0],
                "times_s": [round(time_s, 6) for time_s in times_s],
                "sampling_seed": scene.seed,
                **describe_draws(scene, c.camera, background),
                "pixels": pixels.pixel_path,
                "device": scene.device,
            },
        )
        return _grid(c, scene, pixels, pixels.over(background.image(scene)), meta)

    def _on_ground(self, scene: Scene, stage: Stage, rng: np.random.Generator) -> Scene:
        probe = probe_of(scene)
        outline = outline_of(self.worker.render(probe), probe)
        kind, apart = self.config.ground_kind, self.config.background.min_contrast
        return replace(scene, ground=draw_ground(kind, scene, stage.measured_in(scene), outline, apart, rng))

    def _member(self, item: Item, *, alone: bool) -> Member:
        with named_in_failures(item, alone=alone):
            path, sha256 = self.source.local(item, self.worker)
            return Member(item, path, sha256, self._part_to_play(self._load(item, path)))

    def _load(self, item: Item, path: Path) -> LoadedAsset:
        """Open the item's file and play its clip: one by name, by number, or the longest.

        Numbers were planned from how many animations the file has, when their names were not known: they count the
        clips as `clips_of` names them, and there may be fewer.
        """
        index = item.spec.get("clip_index")
        if index is None:
            return self.worker.load(str(path), item.spec.get("clip"))
        try:
            names = clips_of(read_file(path)) or ()
        except BadGltf:
            names = ()
        if index < len(names):
            return self.worker.load(str(path), names[index])
        self.worker.load(str(path))  # what is wrong with the whole file comes first
        found = ", ".join(names)[:200] or "of unknown names"
        message = f"of its own the file has {len(names)} clips ({found}), so none of number {index}"
        raise ItemFailure("load", "no_such_clip", f"{message}: its other animations are parts of these")

    def _part_to_play(self, loaded: LoadedAsset) -> Clip:
        clip = next(clip for clip in loaded.clips if clip.name == loaded.clip)
        try:
            return part_of(clip, self.config.start_s, self.config.duration_s)
        except ValueError as error:
            raise ItemFailure("filter", "too_short", str(error)) from None


def _grid(c: Config, scene: Scene, pixels: RenderedPixels, frames: npt.NDArray[np.uint8], meta: GridMeta) -> Grid:
    return Grid(
        frames=frames,
        meta=meta,
        mask=pixels.mask if c.mask else None,
        depth=pixels.depth if c.depth else None,
        normals=pixels.normals,
        flow=pixels.flow,
        intrinsics=np.stack([camera.intrinsics_matrix() for camera in scene.cameras]),
        world_to_camera=np.stack([camera.world_to_camera_matrix() for camera in scene.cameras]),
    )


def open_source(config: Config) -> AssetSource:
    """Where this configuration's assets come from."""
    cache = Storage(config.assets_cache or f"{config.out.rstrip('/')}/assets")
    return open_assets(config.assets, config.seed, cache, config.objaverse, config.download)


def data_job(config: Config) -> DataJob:
    """The job that this configuration asks for."""
    source = open_source(config)
    device = device_of(config.device, Storage(config.out))
    return config.data_job(
        "render",
        list_items=lambda: _items(config, source),
        make_processor=functools.partial(Renderer, config, device),
        settings={**source.settings(), "device": device},
        preparation=group_preparation(source.preparation()) if config.several_objects else source.preparation(),
        gpus_per_worker=0 if device == CPU else 1,
    )


def _items(config: Config, source: AssetSource) -> Iterable[Item]:
    items = list_assets(source, config.grids_per_asset, config.clips)
    return group_items(items, config.objects_per_scene, config.seed) if config.several_objects else items


def run(config: Config) -> JobSummary:
    """Run the job, or go on with it."""
    summary = run_data_job(data_job(config))
    out = Storage(config.out)
    write_card(out, summary, _PACKAGES)
    write_statistics_page(out, "render", summary)
    return summary


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, lambda c: run_or_tell(c, data_job, run), argv, prog="fourreal render")


if __name__ == "__main__":
    raise SystemExit(main())
