"""`fourreal reconstruct`: explain each grid by one moving 3D scene of Gaussian splats.

fourreal reconstruct --grids outputs/demo/rendered --out outputs/reconstructed --held-out-views 2
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from fourreal.evaluation.networks import Device
from fourreal.evaluation.planned_grids import grid_items
from fourreal.evaluation.reconstruction import FitSettings
from fourreal.evaluation.reconstruction.reconstructor import ReconstructionSettings, make_reconstructor
from fourreal.evaluation.reconstruction.structure_from_motion import CameraSource
from fourreal.evaluation.scenes import SCENES
from fourreal.platform.config import as_yaml, command
from fourreal.platform.datajob import DataJob, JobSummary, preview_data_job, run_data_job
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage


@dataclass(frozen=True)
class Config:
    """Fit deformable 3D Gaussians to grids with cameras; held-out views tell how well one scene explains a grid.

    Writes shards in which the held-out frames are rendered from the scene (`fourreal evaluate` scores them), and for
    each grid a folder of splats: `.ply` for every time, one file for the whole scene, videos along a new path.
    """

    grids: str
    """Folder of shards, local or s3://."""
    out: str
    """Folder for shards and scenes, local or s3://."""
    held_out_views: int = 2
    """Views that the fit does not see, spread over the inner ones; with 0 all are fitted and all rendered."""
    cameras: CameraSource = "grid"
    """Where cameras come from: the grid itself, or its freeze-time video of the first time, by COLMAP (pip install
    'fourreal[cameras]') or VGGT; estimated ones have a world and a scale of their own."""
    fit: FitSettings = field(default_factory=FitSettings)
    device: Device = "cpu"
    """Where the fit runs; on cuda gsplat draws the splats."""
    weights: str | None = None
    """Folder or s3:// address of published weights, for LPIPS in the scores (default: as in `fourreal evaluate`)."""
    limit: int | None = None
    """Reconstruct the first so many grids alone."""
    workers: int | None = None
    """Worker processes, one core each (default: all cores; on cuda one for each GPU)."""
    retry_quarantined: bool = False
    """Try the grids in quarantine again."""
    dry_run: bool = False
    """Check settings and sources, print what would be made, and make nothing."""

    def __post_init__(self) -> None:
        for name, value, least in (
            ("held-out-views", self.held_out_views, 0),
            ("limit", 1 if self.limit is None else self.limit, 1),
            ("fit.steps", self.fit.steps, 1),
            ("fit.initial-points", self.fit.initial_points, 1),
            ("fit.most-points", self.fit.most_points, self.fit.initial_points),
        ):
            if value < least:
                raise UserError(f"--{name} must be at least {least}, not {value}")


def run(config: Config) -> int:
    """Reconstruct, or go on; returns the exit status."""
    if config.dry_run:
        preview_data_job(_data_job(config)).print_table("reconstruct")
        return 0
    return reconstruct(config).exit_status


def reconstruct(config: Config) -> JobSummary:
    """Like `run`, with the summary. Raises UserError before any work for input that cannot be used."""
    summary = run_data_job(_data_job(config))
    print(f"splats and videos: {Storage(config.out).path(SCENES)}")
    return summary


def _data_job(config: Config) -> DataJob:
    settings = ReconstructionSettings(config.held_out_views, config.fit, config.cameras, config.device, config.weights)
    plain = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name != "fit"}
    return DataJob(
        name="reconstruct",
        out=config.out,
        settings={**settings.record(), "grids": config.grids, "limit": config.limit},
        list_items=partial(grid_items, config.grids, config.limit),
        make_processor=partial(make_reconstructor, config.grids, config.out, dataclasses.asdict(config.fit), plain),
        items_per_shard=1,  # a fit takes minutes: nothing that is done waits for its neighbour
        workers=config.workers,
        gpus_per_worker=1 if config.device == "cuda" else 0,
        lossless=True,
        retry_quarantined=config.retry_quarantined,
        config_yaml=as_yaml(config),
        reads=(config.grids,),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal reconstruct")


if __name__ == "__main__":
    raise SystemExit(main())
