"""The parts of a reconstruction, and the whole on a scene whose truth is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.evaluation.ball_scene import T, V, gaussians, moving_ball

from fourreal.evaluation.metrics.ssim import ssim_map
from fourreal.evaluation.reconstruct import Config, run
from fourreal.evaluation.reconstruction import Camera, FitSettings, Observations, fit, rasterize, time_of
from fourreal.evaluation.reconstruction.camera_paths import between, there_and_back
from fourreal.evaluation.reconstruction.deformation import Deformation
from fourreal.evaluation.reconstruction.environment import Environment
from fourreal.evaluation.reconstruction.foreground import guess_foreground
from fourreal.evaluation.reconstruction.held_out import held_out
from fourreal.evaluation.reconstruction.loss import ssim
from fourreal.evaluation.reconstruction.ply import read_ply, write_ply
from fourreal.evaluation.reconstruction.reconstructor import ReconstructionSettings, Reconstructor
from fourreal.evaluation.reconstruction.scene_file import dump_scene, load_scene
from fourreal.platform.cameras import intrinsics, orbit
from fourreal.platform.codec import encode
from fourreal.platform.datajob import Item, ItemFailure, list_quarantine
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.shards import read_grids, write_shard
from fourreal.platform.storage import Storage


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((one / 255.0 - other / 255.0) ** 2)))


@pytest.mark.slow
def test_a_moving_scene_is_found_again_in_views_that_the_fit_did_not_see(tmp_path: Path) -> None:
    source = moving_ball()
    record = write_shard(Storage(str(tmp_path / "grids")), 0, [(source.key, encode(source, lossless=True))])
    settings = ReconstructionSettings(1, FitSettings(steps=250, initial_points=600))
    work = Reconstructor(str(tmp_path / "grids"), str(tmp_path / "out"), settings)
    made = work.process(Item("ball", "x", {"shard_sha256": record.sha256}))
    unseen = held_out(V, 1)
    assert unseen == [2]
    still = np.repeat(source.frames[unseen][:, :1], T, axis=1)
    assert psnr(made.frames[unseen], source.frames[unseen]) > 24
    assert psnr(made.frames[unseen], source.frames[unseen]) > psnr(still, source.frames[unseen]) + 4
    seen = [v for v in range(V) if v not in unseen]
    assert np.abs(made.frames[seen].astype(int) - source.frames[seen]).mean() < 2  # given frames
    assert made.meta.provenance["scores"]["depth_relative_error"] < 0.05
    files = sorted(path.name for path in (tmp_path / "out" / "scenes" / "ball").iterdir())
    assert files == [
        "path-depth.mp4", "path.mp4", "scene.safetensors", "scores.json", "sequence.safetensors",
        "time-000.ply", "time-001.ply", "time-002.ply",
    ]  # fmt: skip
    scores = json.loads((tmp_path / "out" / "scenes" / "ball" / "scores.json").read_text())
    assert scores["psnr"] == pytest.approx(
        np.mean([psnr(made.frames[2, t], source.frames[2, t]) for t in range(T)]), abs=1e-3
    )
    assert 0.8 < scores["ssim"] <= 1
    assert scores["lpips"] is None
    assert "fourreal weights fetch" in scores["unavailable"]["lpips"]
    data = (tmp_path / "out" / "scenes" / "ball" / "scene.safetensors").read_bytes()
    scene, times = load_scene(data)
    assert times == T
    camera = Observations.of_grid(source).cameras[2]
    again = (scene.render(camera, time_of(1, T)).colour.clamp(0, 1) * 255).round().byte().numpy()
    assert np.array_equal(again, made.frames[2, 1])
    splats = read_ply((tmp_path / "out" / "scenes" / "ball" / "time-001.ply").read_bytes())
    from_file = rasterize(splats, camera, scene.environment(camera).clamp(0, 1)).colour
    assert (from_file - scene.render(camera, time_of(1, T)).colour).abs().max() < 1e-3


def test_what_stands_before_the_background_is_told_without_a_mask() -> None:
    grid = moving_ball()
    assert grid.mask is not None
    seen = dataclasses.replace(Observations.of_grid(grid), mask=None)
    guess = guess_foreground(seen, list(range(V)))
    assert guess is not None
    ball = torch.from_numpy(grid.mask[:, 0] > 250)
    assert (guess[ball] == 1).float().mean() > 0.9
    assert (guess[torch.from_numpy(grid.mask[:, 0] == 0)] == 0).float().mean() > 0.7
    everywhere = dataclasses.replace(seen, frames=torch.rand(seen.frames.shape, generator=torch.Generator()))
    assert guess_foreground(everywhere, list(range(V))) is None


@pytest.mark.ray
@pytest.mark.slow
def test_the_job_keeps_what_it_can_and_says_why_not_the_rest(tmp_path: Path) -> None:
    good = moving_ball("good")
    blind = Grid(frames=good.frames, meta=GridMeta("blind"))
    write_shard(Storage(str(tmp_path / "grids")), 0, [(g.key, encode(g)) for g in (good, blind)])
    fit_settings = FitSettings(steps=20, initial_points=200)
    config = Config(grids=str(tmp_path / "grids"), out=str(tmp_path / "out"), fit=fit_settings, workers=1)
    assert run(config) == 0
    (record,) = list_quarantine(Storage(str(tmp_path / "out")))
    assert (record.key, record.reason) == ("blind", "cameras")
    assert "has no cameras" in record.message
    (made,) = [grid.decode() for grid in read_grids(Storage(str(tmp_path / "out")))]
    assert made.meta.provenance["given"][:2] == [[0, 0], [0, 1]]
    scores = json.loads((tmp_path / "out" / "scenes" / "good" / "scores.json").read_text())
    assert scores["gaussians"] > 50


def test_grids_that_changed_since_the_plan_are_refused(tmp_path: Path) -> None:
    write_shard(Storage(str(tmp_path / "grids")), 0, [("good", encode(moving_ball("good")))])
    settings = ReconstructionSettings(1, FitSettings(steps=1))
    with pytest.raises(ItemFailure, match="changed since the plan"):
        Reconstructor(str(tmp_path / "grids"), str(tmp_path), settings).process(
            Item("good", "grids", {"shard_sha256": "0"})
        )


def test_a_missing_package_is_no_fault_of_a_grid(tmp_path: Path) -> None:
    settings = ReconstructionSettings(1, FitSettings(), cameras="vggt")
    with pytest.raises(UserError, match="estimated by VGGT, which is not installed: pip install"):
        Reconstructor(str(tmp_path), str(tmp_path), settings)


def test_at_the_start_nothing_moves() -> None:
    some = gaussians(20)
    moved = Deformation(torch.zeros(3), 1.0, 5)(some, 0.7)
    assert torch.equal(moved.means, some.means)
    assert torch.equal(moved.log_scales, some.log_scales)
    assert Deformation(torch.zeros(3), 1.0, 5).roughness().item() == 0.0


def test_the_environment_is_the_same_from_everywhere_and_has_no_seam() -> None:
    environment = Environment(8, 16)
    with torch.no_grad():
        environment.picture.copy_(torch.rand(1, 3, 8, 16, generator=torch.Generator().manual_seed(0)))
    colours = []
    for azimuth in (np.pi - 1e-4, -np.pi + 1e-4):  # to both sides of the seam
        pose = torch.tensor(orbit(azimuth + np.pi, 0.0, 2.0)[0]).float()
        view = Camera(torch.tensor(intrinsics(9, 9, vertical_fov=0.5)).float(), pose, 9, 9)
        colours.append(environment(view)[4, 4])
    assert torch.allclose(colours[0], colours[1], atol=1e-3)


def test_splats_go_through_a_file_and_other_files_are_refused() -> None:
    some = gaussians(7)
    again = read_ply(write_ply(some))
    for name, tensor in some.tensors().items():
        expected = torch.nn.functional.normalize(tensor, dim=1) if name == "quaternions" else tensor
        assert torch.allclose(again.tensors()[name], expected, atol=1e-6), name
    with pytest.raises(UserError, match="no binary"):
        read_ply(b"ply\nformat ascii 1.0\nend_header\n")
    with pytest.raises(UserError, match="cut off"):
        read_ply(write_ply(some)[:-8])
    with pytest.raises(UserError, match="no scene"):
        load_scene(write_ply(some))


def test_a_scene_goes_through_its_file() -> None:
    observations = Observations.of_grid(moving_ball())
    train = torch.ones(V, T, dtype=torch.bool)
    scene = fit(observations, train, FitSettings(steps=3, initial_points=50))
    again, _ = load_scene(dump_scene(scene, T))
    camera = observations.cameras[0]
    assert torch.equal(again.render(camera, 0.5).colour, scene.render(camera, 0.5).colour)


def test_the_same_seed_gives_the_same_scene() -> None:
    observations = Observations.of_grid(moving_ball())
    train = torch.ones(V, T, dtype=torch.bool)
    first, second = (dump_scene(fit(observations, train, FitSettings(steps=5, initial_points=50)), T) for _ in range(2))
    assert first == second


def test_the_loss_has_the_ssim_of_the_metric() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.integers(0, 256, (2, 40, 48, 3)).astype(np.uint8)
    inside = ssim_map(one, other)[5:-5, 5:-5]
    a, b = (torch.from_numpy(image).double() / 255 for image in (one, other))
    assert abs(float(ssim(a, b)) - inside.mean()) < 1e-9


def test_a_path_passes_through_the_cameras_it_lies_between() -> None:
    cameras = Observations.of_grid(moving_ball()).cameras
    for number, camera in enumerate(cameras):
        found = between(cameras, number / (V - 1))
        assert torch.allclose(found.world_to_camera, camera.world_to_camera, atol=1e-5)
    middle = between(cameras, 0.5 / (V - 1)).world_to_camera[:3, :3]
    assert torch.allclose(middle @ middle.T, torch.eye(3), atol=1e-5)
    assert there_and_back(9)[0] == there_and_back(9)[-1] == 0.0
    assert there_and_back(9)[4] == 1.0


def test_held_out_views_are_inner_ones() -> None:
    assert held_out(8, 2) == [2, 5]
    assert held_out(8, 0) == []
    with pytest.raises(UserError, match="hold out fewer"):
        held_out(3, 2)
