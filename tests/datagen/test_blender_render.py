"""What Blender renders, measured against the scene that it was told to render."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from tests.datagen.glb import Glb, moving_cube

from fourreal.datagen.blender.background import BackgroundSettings, choose_background, outline_of
from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.framing import build_scene
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.pixels import RenderedPixels
from fourreal.datagen.blender.scene import Actor, Camera, Scene
from fourreal.datagen.blender.timing import sample_times
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.procedural import make_model
from fourreal.platform.cameras import pixel_centres, project, unproject

pytestmark = pytest.mark.blender
DEFAULT = CameraSettings()
CAMERA = CameraSettings()


@pytest.fixture(scope="module")
def worker() -> Iterator[BlenderWorker]:
    with BlenderWorker() as shared:
        yield shared


def scene_of(
    worker: BlenderWorker,
    asset: Path,
    *,
    views: int = 3,
    times: int = 3,
    samples: int = 2,
    seed: int = 0,
    camera: CameraSettings = DEFAULT,
) -> Scene:
    loaded = worker.load(str(asset))
    rng = np.random.default_rng(seed)
    times_s = sample_times(loaded.clips[0], times, 0.25, rng)
    measurement = worker.measure(str(asset), loaded.clip, times_s)
    size = {"views": views, "height": 64, "width": 96, "samples": samples}
    return build_scene(
        [Actor(str(asset), loaded.clip)],
        times_s,
        measurement,
        **size,
        rng=rng,
        camera=camera,
        light=LightSettings(),
    )


def same(a: RenderedPixels, b: RenderedPixels) -> bool:
    return np.array_equal(a.colour, b.colour) and np.array_equal(a.depth, b.depth)


def inside_of(depth: np.ndarray) -> np.ndarray:
    """Pixels of a frame whose neighbours are all on the asset."""
    return cv2.erode(np.isfinite(depth).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_cube(tmp_path_factory.mktemp("cube") / "cube.glb")


@pytest.fixture(scope="module")
def models(worker: BlenderWorker, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = [folder / f"{seed}.glb" for seed in range(3)]
    for seed, path in enumerate(paths):
        worker.export(make_model(seed).to_json(), path)
    return paths


def test_depth_and_cameras_give_back_the_cube_to_a_millimetre(worker: BlenderWorker, cube: Path) -> None:
    scene = scene_of(worker, cube, times=2)
    moved = []  # off-centre principal points too, each view its own
    for v, camera in enumerate(scene.cameras):
        lens = camera.intrinsics_matrix()
        lens[:2, 2] += [3.0 * v - 4.0, 2.0 - 1.5 * v]
        moved.append(Camera.from_matrices(lens, camera.world_to_camera_matrix()))
    scene = replace(scene, cameras=tuple(moved))
    pixels = worker.render(scene)
    for v, camera in enumerate(scene.cameras):
        for t, time_s in enumerate(scene.times_s):
            depth = pixels.depth[v, t]
            where = inside_of(depth)
            assert where.sum() > 200
            points = unproject(
                pixel_centres(64, 96)[where], depth[where], camera.intrinsics_matrix(), camera.world_to_camera_matrix()
            )
            placement = scene.actors[0].placement
            in_asset = points / placement.scale + np.array(placement.centre) - [time_s, 0.0, 0.0]
            # Depth is of one sample somewhere in the pixel: half a pixel beside its centre, at a slope.
            error = np.abs(np.abs(in_asset).max(axis=1) - 1.0)
            assert np.median(error) < 0.02
            assert np.percentile(error, 95) < 0.08


def test_depth_of_one_view_agrees_with_the_others(worker: BlenderWorker, models: list[Path]) -> None:
    scene = scene_of(worker, models[1], views=4)
    pixels = worker.render(scene)
    first, second = scene.cameras[0], scene.cameras[1]
    where = inside_of(pixels.depth[0, 0])
    points = unproject(
        pixel_centres(64, 96)[where],
        pixels.depth[0, 0][where],
        first.intrinsics_matrix(),
        first.world_to_camera_matrix(),
    )
    xy, depth = project(points, second.intrinsics_matrix(), second.world_to_camera_matrix())
    x, y = np.floor(xy).astype(int).T
    seen = pixels.depth[1, 0][y.clip(0, 63), x.clip(0, 95)]
    assert (seen < depth + 0.05).mean() > 0.9  # nothing of the asset lies where the second view sees through it
    assert (np.abs(seen - depth) < 0.05).mean() > 0.6


def test_mask_and_depth_agree(worker: BlenderWorker, models: list[Path]) -> None:
    pixels = worker.render(scene_of(worker, models[0], samples=4))
    covered, hit = pixels.mask > 0, np.isfinite(pixels.depth)
    assert (hit & ~covered).mean() < 0.001
    assert (pixels.mask[hit] > 127).mean() > 0.8
    assert (~hit & (pixels.mask == 255)).sum() == 0
    assert pixels.depth[hit].min() > 0.1


@pytest.mark.parametrize("family", range(3))
def test_every_family_is_framed_lit_and_moving(worker: BlenderWorker, models: list[Path], family: int) -> None:
    scene = scene_of(worker, models[family], samples=4)
    pixels = worker.render(scene)
    background = choose_background(outline_of(pixels, scene), BackgroundSettings(), np.random.default_rng(0))
    frames = pixels.over(background.image(scene)).astype(np.int16)
    border = np.ones((64, 96), bool)
    border[1:-1, 1:-1] = False
    assert (pixels.mask[..., border] == 0).all()
    coverage = (pixels.mask > 127).mean(axis=(2, 3))
    assert 0.02 < coverage.min() <= coverage.max() < 0.6
    asset = frames[pixels.mask > 250]
    assert (asset.min(axis=-1) >= 250).mean() < 0.1, "washed out"
    assert 40 < asset.mean() < 215
    assert asset.std() > 10
    empty = frames[pixels.mask == 0]
    assert abs(float(empty.mean() - asset.mean())) > 15
    for step in (np.diff(frames, axis=0), np.diff(frames, axis=1)):
        assert (np.abs(step).max(axis=-1) > 30).mean(axis=(2, 3)).min() > 0.002, "two frames are the same"


def test_the_scene_decides_every_byte(worker: BlenderWorker, models: list[Path]) -> None:
    scene = scene_of(worker, models[2])
    first = worker.render(scene)
    assert same(first, worker.render(scene))
    worker.load(str(models[0]))
    assert same(first, worker.render(scene))
    with BlenderWorker() as fresh:
        assert same(first, fresh.render(scene))
    assert not same(first, worker.render(replace(scene, seed=scene.seed + 10)))


def test_a_frame_does_not_hang_on_the_frames_around_it(worker: BlenderWorker, models: list[Path]) -> None:
    scene = scene_of(worker, models[1])
    grid = worker.render(scene)
    last = worker.render(replace(scene, times_s=scene.times_s[-1:], seed=scene.seed + len(scene.times_s) - 1))
    assert np.array_equal(grid.colour[:, -1:], last.colour)
    still = worker.render(replace(scene, times_s=scene.times_s[:1] * 2))
    assert not np.array_equal(still.colour[:, 0], still.colour[:, 1]), "noise sticks to the screen over time"


@pytest.mark.parametrize("family", range(3))
def test_only_the_part_of_a_frame_with_the_asset_is_rendered_and_it_is_the_same(
    worker: BlenderWorker, models: list[Path], family: int
) -> None:
    scene = scene_of(worker, models[family], views=2)
    near = scene.cameras[1].world_to_camera_matrix()
    near[2, 3] *= 0.4  # so near that the asset reaches the edges of the frame: all of it is rendered, in both views
    with_near = replace(
        scene, cameras=(scene.cameras[0], Camera.from_matrices(scene.cameras[1].intrinsics_matrix(), near))
    )
    whole = worker.render(with_near)
    seen = (whole.colour[1, ..., 3] > 0.0).any(axis=0)
    assert seen.any(axis=1).mean() > 0.9 or seen.any(axis=0).mean() > 0.9
    part = worker.render(scene)
    assert np.array_equal(part.colour[0], whole.colour[0])
    assert np.array_equal(part.depth[0], whole.depth[0])


@pytest.mark.parametrize("views", [1, 3])
def test_pixels_through_files_are_the_pixels_out_of_memory(
    worker: BlenderWorker, models: list[Path], views: int
) -> None:
    scene = scene_of(worker, models[0], views=views, times=2)
    memory, exr = worker.render(scene), worker.render(scene, "exr")
    assert (memory.pixel_path, exr.pixel_path) == ("memory", "exr")
    assert same(memory, exr)


def test_a_model_has_the_same_file_in_every_child(worker: BlenderWorker, models: list[Path], tmp_path: Path) -> None:
    with BlenderWorker() as fresh:
        for seed, path in enumerate(models):
            fresh.export(make_model(seed).to_json(), tmp_path / "again.glb")
            assert (tmp_path / "again.glb").read_bytes() == path.read_bytes()


def test_an_exported_model_moves_as_its_description_says(worker: BlenderWorker, models: list[Path]) -> None:
    model = make_model(0)
    moving = next(part for part in model.parts if part.motion is not None)
    assert moving.motion is not None
    (clip,) = worker.load(str(models[0])).clips
    assert clip.duration_s == pytest.approx(model.times_s[-1], abs=0.05)
    times_s = (0.0, 0.5 * clip.duration_s)
    hull = worker.measure(str(models[0]), clip.name, times_s).hull
    assert np.abs(hull[1] - hull[0]).max() > 0.01


def test_overlapping_triangles_leave_no_dark_patches(worker: BlenderWorker, tmp_path: Path) -> None:
    """Each face of the box is cut into three overlapping triangles, as in a well-known sample file."""
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (b, c, d), (c, d, a))]
    glb = Glb()
    glb.animate("a", glb.node(triangles=triangles), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    scene = scene_of(worker, glb.write(tmp_path / "strips.glb"), views=2, times=1, samples=8)
    pixels = worker.render(scene)
    colour = pixels.colour.astype(np.float32)[pixels.mask == 255]
    assert (colour[:, 1] < 0.05).mean() < 0.01


def test_the_files_own_scale_and_place_do_not_matter(worker: BlenderWorker, tmp_path: Path) -> None:
    glb = Glb()
    glb.animate("slide", glb.node(), [0.0, 1.0], np.array([[0, 0, 0], [1, 0, 0]]))
    glb.add("nodes", {"children": [0], "scale": [400.0] * 3, "translation": [1e4, -5e3, 77.0]})
    path = glb.write(tmp_path / "big.glb")
    scene = scene_of(worker, path, views=2, times=2)
    (actor,) = scene.actors
    assert actor.placement.scale < 0.01
    hull = worker.measure(actor.asset, actor.clip, scene.times_s).hull
    assert np.abs(actor.placement.apply(hull)).max() <= 1.0 + 1e-6
    assert np.isfinite(worker.render(scene).depth).mean() > 0.05


@pytest.mark.parametrize("path", ["arc", "orbit"])
def test_the_rendered_asset_fills_the_frame_and_does_not_touch_its_edge(
    worker: BlenderWorker, cube: Path, models: list[Path], path: Literal["arc", "orbit"]
) -> None:
    camera = CameraSettings(path=path, fill=(0.65, 0.88), elevation_degrees=(-20.0, 50.0), distance_change=0.3)
    for seed, asset in enumerate([cube, *models]):
        scene = scene_of(worker, asset, views=4, samples=1, seed=seed, camera=camera)
        seen = (worker.render(scene).mask > 0).any(axis=1)
        assert not seen[:, [0, -1]].any()
        assert not seen[:, :, [0, -1]].any()
        extents = [np.ptp(np.nonzero(view)[axis]) + 1 for view in seen for axis in (0, 1)]
        assert 0.6 <= max(extents) / 64 <= 0.95  # a pixel that is covered in part counts whole
