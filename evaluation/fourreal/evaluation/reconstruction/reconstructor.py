"""One reconstruction from one grid: the worker's side of `fourreal reconstruct`."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fourreal.evaluation.given import GIVEN
from fourreal.evaluation.planned_grids import planned_grid
from fourreal.evaluation.reconstruction.camera_paths import between, there_and_back
from fourreal.evaluation.reconstruction.fit import FitSettings, FittedScene, fit, time_of
from fourreal.evaluation.reconstruction.gsplat_rasterizer import require_gsplat
from fourreal.evaluation.reconstruction.held_out import held_out
from fourreal.evaluation.reconstruction.observations import Observations
from fourreal.evaluation.reconstruction.ply import write_ply
from fourreal.evaluation.reconstruction.scene_file import dump_scene
from fourreal.evaluation.reconstruction.scores import COVERED, depth_error, view_scores
from fourreal.evaluation.reconstruction.sequence_file import dump_sequence
from fourreal.evaluation.reconstruction.structure_from_motion import CameraSource, estimate_cameras, require_solver
from fourreal.evaluation.scenes import SCENES, SEQUENCE
from fourreal.evaluation.shelf import Shelf
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.storage import Storage
from fourreal.platform.video import write_video

_PATH_FRAMES_PER_TIME = 4


@dataclass(frozen=True)
class ReconstructionSettings:
    """What decides the result besides the grid; `device` and the store of `weights` (LPIPS) do not."""

    held_out_views: int
    fit: FitSettings
    cameras: CameraSource = "grid"
    device: str = "cpu"
    weights: str | None = None

    def record(self) -> dict[str, Any]:
        """What decides the result, as JSON."""
        return {
            "held_out_views": self.held_out_views, "cameras": self.cameras, "fit": dataclasses.asdict(self.fit)
        }  # fmt: skip


class Reconstructor:
    """Fits one grid at a time, on one thread: one core a worker, and the same bytes on any machine size."""

    def __init__(self, grids_uri: str, out_uri: str, settings: ReconstructionSettings) -> None:
        """Raises UserError where a package that the settings ask for is missing: no grid is to blame for it."""
        require_solver(settings.cameras)
        if settings.device == "cuda":
            require_gsplat()
        self.grids, self.out, self.settings = Storage(grids_uri), Storage(out_uri), settings
        torch.set_num_threads(1)

    def process(self, item: Item) -> Grid:
        """The grid with its held-out frames rendered from the fitted scene. Raises ItemFailure."""
        source = planned_grid(self._shelf, item)
        try:
            seen = self._with_cameras(source)
            observations = Observations.of_grid(seen).to(self.settings.device)
        except UserError as error:
            raise ItemFailure("read", "cameras", str(error)) from None
        try:
            unseen = held_out(source.views, self.settings.held_out_views)
        except UserError as error:
            raise ItemFailure("read", "too_few_views", str(error)) from None
        train = np.ones((source.views, source.times), bool)
        train[unseen] = False
        losses: list[float] = []
        scene = fit(observations, torch.from_numpy(train), self.settings.fit, lambda step, loss: losses.append(loss))
        if not np.isfinite(losses[-1]):
            raise ItemFailure("fit", "not_finite", "the fit diverged: use fewer --fit.steps or other --fit.seed")
        frames, depth, mask = _render(scene, observations)
        scores = {
            "gaussians": len(scene.gaussians),
            "loss": round(losses[-1], 5),
            # Estimated cameras have a scale of their own: their depth cannot be compared.
            "depth_relative_error": depth_error(source, depth) if self.settings.cameras == "grid" else None,
            **view_scores(source, frames, unseen, self.settings.weights),
        }
        self._write(item.key, scene, observations, source, scores)
        if not train.all():
            frames[train] = source.frames[train]
        meta = dataclasses.replace(
            source.meta,
            seed=self.settings.fit.seed,
            settings=self.settings.record(),
            motion={},
            provenance={
                GIVEN: np.argwhere(train).tolist() if not train.all() else [],
                "job": "reconstruct",
                "scores": scores,
                "source_grid": {"address": item.source, "provenance": dict(source.meta.provenance)},
            },
        )
        return dataclasses.replace(seen, frames=frames, depth=depth, mask=mask, flow=None, normals=None, meta=meta)

    def close(self) -> None:
        """Nothing to release."""

    @cached_property
    def _shelf(self) -> Shelf:
        return Shelf(self.grids)

    def _with_cameras(self, source: Grid) -> Grid:
        if self.settings.cameras == "grid":
            return source
        intrinsics, poses = estimate_cameras(source.frames[:, 0], self.settings.cameras, self.settings.fit.seed)
        return dataclasses.replace(source, intrinsics=intrinsics, world_to_camera=poses, homographies=None)

    def _write(
        self, key: str, scene: FittedScene, observations: Observations, source: Grid, scores: dict[str, Any]
    ) -> None:
        times = source.times
        files = {f"time-{t:03d}.ply": write_ply(scene.at(time_of(t, times))) for t in range(times)}
        files["scene.safetensors"] = dump_scene(scene, times)
        files[SEQUENCE] = dump_sequence(scene, observations, times)
        files |= self._videos(scene, observations, source)
        files["scores.json"] = (json.dumps(scores, indent=1) + "\n").encode()
        for name, data in files.items():
            self.out.write(f"{SCENES}/{key}/{name}", data)

    def _videos(self, scene: FittedScene, observations: Observations, source: Grid) -> dict[str, bytes]:
        """A path between the views while time runs, in colour and as depth."""
        frames = _PATH_FRAMES_PER_TIME * max(source.times, source.views)
        colours, depths = [], []
        for number, position in enumerate(there_and_back(frames)):
            made = scene.render(between(observations.cameras, position), number / max(1, frames - 1))
            colours.append(_bytes_of(made.colour))
            near = torch.where(made.alpha > COVERED, 1 / made.depth.clamp_min(1e-6), 0.0)
            depths.append(_bytes_of((near / near.amax().clamp_min(1e-6))[..., None].expand(-1, -1, 3)))
        with tempfile.TemporaryDirectory() as folder:
            videos = {}
            for name, pictures in (("path.mp4", colours), ("path-depth.mp4", depths)):
                path = Path(folder) / name
                write_video(path, np.stack(pictures), fps=_PATH_FRAMES_PER_TIME * max(1.0, source.meta.fps))
                videos[name] = path.read_bytes()
        return videos


def _render(
    scene: FittedScene, observations: Observations
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Frames uint8 `[V, T, H, W, 3]`, depth float32 and mask uint8 `[V, T, H, W]`, as a grid has them."""
    V, T, H, W, _ = observations.frames.shape
    frames, depth = np.empty((V, T, H, W, 3), np.uint8), np.empty((V, T, H, W), np.float32)
    mask = np.empty((V, T, H, W), np.uint8)
    for v, camera in enumerate(observations.cameras):
        for t in range(T):
            made = scene.render(camera, time_of(t, T))
            frames[v, t] = _bytes_of(made.colour)
            mask[v, t] = _bytes_of(made.alpha)
            depth[v, t] = torch.where(made.alpha > COVERED, made.depth, torch.inf).cpu().numpy()
    return frames, depth, mask


def _bytes_of(image: torch.Tensor) -> npt.NDArray[np.uint8]:
    return np.asarray((image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


def make_reconstructor(
    grids_uri: str, out_uri: str, fit_settings: dict[str, Any], settings: dict[str, Any]
) -> Reconstructor:
    """What a worker process calls; plain arguments, so that they travel by pickle."""
    return Reconstructor(grids_uri, out_uri, ReconstructionSettings(fit=FitSettings(**fit_settings), **settings))
