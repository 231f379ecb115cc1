"""Cameras that a reconstruction cannot use, and cameras found in a freeze-time video."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tests.evaluation.ball_scene import V, moving_ball

from fourreal.evaluation.metrics import Comparison, choose_metrics
from fourreal.evaluation.reconstruction import FitSettings, Observations, reconstructor
from fourreal.evaluation.reconstruction.reconstructor import ReconstructionSettings, Reconstructor
from fourreal.evaluation.reconstruction.structure_from_motion import estimate_cameras
from fourreal.platform.cameras import camera_centre, intrinsics, orbit
from fourreal.platform.codec import encode
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage


def _moved_sideways(poses: np.ndarray) -> np.ndarray:
    rig = np.repeat(poses[:1], len(poses), axis=0)
    rig[:, 0, 3] += np.arange(len(poses)) * 0.1
    return rig


def _turned_away(poses: np.ndarray) -> np.ndarray:
    return np.diag([-1.0, 1.0, -1.0, 1.0]) @ poses


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"world_to_camera": lambda poses: np.full_like(poses, np.nan)}, "not finite"),
        ({"intrinsics": np.zeros_like}, "no focal length"),
        ({"world_to_camera": lambda poses: np.repeat(poses[:1], V, axis=0)}, "all stand in one place"),
        ({"world_to_camera": _moved_sideways}, "look at no common place"),
        ({"world_to_camera": _turned_away}, "look at no common place"),
        ({"world_to_camera": lambda poses: 2 * poses}, "skewed"),
    ],
    ids=["nan", "no focal length", "no baseline", "parallel", "turned away", "skewed"],
)
def test_degenerate_cameras_are_one_sentence_and_other_metrics_still_run(
    change: dict[str, Callable[[np.ndarray], np.ndarray]], says: str
) -> None:
    grid = moving_ball()
    broken = dataclasses.replace(grid, **{name: make(getattr(grid, name)) for name, make in change.items()})
    with pytest.raises(UserError, match=says):
        Observations.of_grid(broken)
    assert broken.intrinsics is not None
    assert broken.world_to_camera is not None
    cameras = (broken.intrinsics, broken.world_to_camera)
    sample = Comparison("ball", grid.frames[:, 0], grid.frames[:, 0], grid=grid.frames, cameras=cameras)
    scene, psnr = (metric.compute(sample) for metric in choose_metrics(["reconstruction", "psnr"]))
    assert scene.value is None
    assert says in scene.reason
    assert psnr.value is not None


def test_a_grid_whose_cameras_cannot_be_used_fails_alone(tmp_path: Path) -> None:
    grid = moving_ball()
    assert grid.world_to_camera is not None
    still = dataclasses.replace(grid, world_to_camera=np.repeat(grid.world_to_camera[:1], V, axis=0))
    record = write_shard(Storage(str(tmp_path)), 0, [(grid.key, encode(still))])
    work = Reconstructor(str(tmp_path), str(tmp_path / "out"), ReconstructionSettings(1, FitSettings(steps=1)))
    with pytest.raises(ItemFailure, match="all stand in one place") as failure:
        work.process(Item(grid.key, "x", {"shard_sha256": record.sha256}))
    assert failure.value.reason == "cameras"


def textured_corner(views: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames uint8 `[V, H, W, 3]` of a corner of three textured walls, with their true cameras."""
    H, W, finer = 120, 160, 3
    poses = orbit(np.linspace(0.4, 1.2, views), 0.5, 3.2)
    matrix = intrinsics(W, H, vertical_fov=0.8)
    fine = np.diag([finer, finer, 1.0]) @ matrix
    rng = np.random.default_rng(0)
    walls = []
    for first, second in ((0, 1), (1, 2), (2, 0)):
        noise = cv2.GaussianBlur(rng.integers(0, 256, (128, 128, 3)).astype(np.uint8), (0, 0), 1.0)
        texture = cv2.resize(cv2.normalize(noise, noise, 0, 255, cv2.NORM_MINMAX), (512, 512))
        walls.append((texture, np.eye(3)[first] / 256, np.eye(3)[second] / 256))
    frames = []
    for pose in poses:
        picture = np.full((H * finer, W * finer, 3), 90, np.uint8)
        for texture, along, up in walls:
            rotated = fine @ pose[:3, :3]
            plane = np.stack([rotated @ along, rotated @ up, fine @ (pose[:3, 3] - pose[:3, :3] @ np.ones(3))], axis=1)
            size = (W * finer, H * finer)
            covered = cv2.warpPerspective(np.full(texture.shape[:2], 255, np.uint8), plane, size) > 128
            picture[covered] = cv2.warpPerspective(texture, plane, size)[covered]
        frames.append(cv2.resize(picture, (W, H), interpolation=cv2.INTER_AREA))
    return np.stack(frames), np.repeat(matrix[None], views, axis=0), poses


def test_colmap_finds_the_cameras_of_a_freeze_time_video() -> None:
    pytest.importorskip("pycolmap", reason="cameras are estimated by pycolmap, which is not installed")
    frames, true_matrices, true_poses = textured_corner()
    matrices, poses = estimate_cameras(frames, "colmap")
    assert np.abs(matrices / np.where(true_matrices == 0, 1, true_matrices) - (true_matrices != 0)).max() < 0.02
    turns = [p[1:, :3, :3] @ p[:-1, :3, :3].transpose(0, 2, 1) for p in (poses, true_poses)]
    difference = (np.trace(turns[0] @ turns[1].transpose(0, 2, 1), axis1=1, axis2=2) - 1) / 2
    assert np.degrees(np.arccos(difference.clip(-1, 1))).max() < 0.5
    steps = [np.linalg.norm(np.diff(camera_centre(p), axis=0), axis=1) for p in (poses, true_poses)]
    scale = steps[1] / steps[0]  # the same everywhere: the solver's world has a scale of its own
    assert np.abs(scale / scale.mean() - 1).max() < 0.03


def test_colmap_says_when_there_is_nothing_to_see() -> None:
    pytest.importorskip("pycolmap", reason="cameras are estimated by pycolmap, which is not installed")
    with pytest.raises(UserError, match="COLMAP placed 0 of 4 views"):
        estimate_cameras(np.full((4, 60, 80, 3), 128, np.uint8), "colmap")


@pytest.mark.parametrize(("source", "package"), [("colmap", "pycolmap"), ("vggt", "vggt.models.vggt")])
def test_a_solver_that_is_not_installed_is_one_sentence(
    source: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="which is not installed: pip install"):
        estimate_cameras(np.zeros((3, 8, 8, 3), np.uint8), source)


def test_cameras_from_vggt_are_in_pixels_of_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interface of VGGT, with a model that knows the answer; the published weights are not run here."""
    frames, true_matrices, true_poses = textured_corner(3)

    class Twin(torch.nn.Module):
        @classmethod
        def from_pretrained(cls, name: str) -> Twin:
            assert name == "facebook/VGGT-1B"
            return cls()

        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            assert images.shape == (3, 3, 392, 518)
            assert 0.2 < float(images.mean()) < 0.8
            return {"pose_enc": torch.zeros(1, 3, 9)}

    def decode(encoding: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        stretched = np.diag([size[1] / 160, size[0] / 120, 1.0]) @ true_matrices
        return torch.from_numpy(true_poses[None, :, :3]), torch.from_numpy(stretched[None])

    model, encoding = ModuleType("vggt.models.vggt"), ModuleType("vggt.utils.pose_enc")
    vars(model)["VGGT"], vars(encoding)["pose_encoding_to_extri_intri"] = Twin, decode
    for name in ("vggt", "vggt.models", "vggt.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "vggt.models.vggt", model)
    monkeypatch.setitem(sys.modules, "vggt.utils.pose_enc", encoding)
    matrices, poses = estimate_cameras(frames, "vggt")
    assert np.allclose(matrices, true_matrices)
    assert np.allclose(poses, true_poses)


def test_a_grid_without_cameras_is_reconstructed_with_estimated_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, matrices, poses = textured_corner(4)

    def estimate(freeze_time: np.ndarray, source: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        assert np.abs(freeze_time.astype(int) - frames).mean() < 3  # through JPEG
        assert source == "colmap"
        return matrices, poses

    monkeypatch.setattr(reconstructor, "estimate_cameras", estimate)
    grid = Grid(frames=np.repeat(frames[:, None], 2, axis=1), meta=moving_ball().meta)
    record = write_shard(Storage(str(tmp_path)), 0, [(grid.key, encode(grid))])
    settings = ReconstructionSettings(1, FitSettings(steps=2, initial_points=50), cameras="colmap")
    work = Reconstructor(str(tmp_path), str(tmp_path / "out"), settings)
    made = work.process(Item(grid.key, "x", {"shard_sha256": record.sha256}))
    assert made.world_to_camera is not None
    assert np.array_equal(made.world_to_camera, poses)
    assert made.meta.settings["cameras"] == "colmap"
    assert made.meta.provenance["scores"]["depth_relative_error"] is None
