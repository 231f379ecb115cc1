"""A ground under the objects, and several objects in one scene, as Blender renders them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.datagen.glb import moving_cube

from fourreal.datagen.assets import open_assets
from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.framing import build_scene
from fourreal.datagen.blender.ground import GroundSettings
from fourreal.datagen.blender.layout import arrange, placed, together
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.pixels import RenderedPixels
from fourreal.datagen.blender.scene import Actor, Ground, Lights, Scene, Sun
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.render import Config, Renderer, data_job
from fourreal.platform.cameras import camera_centre, pixel_centres, project, unproject
from fourreal.platform.codec import encode
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.grid import Grid

pytestmark = pytest.mark.blender
SIZE = {"views": 2, "height": 64, "width": 96, "samples": 16}
LOW = CameraSettings(elevation_degrees=(-30.0, -30.0))


@pytest.fixture(scope="module")
def worker() -> Iterator[BlenderWorker]:
    with BlenderWorker() as shared:
        yield shared


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_cube(tmp_path_factory.mktemp("cube") / "cube.glb")


@pytest.fixture(scope="module")
def scene(worker: BlenderWorker, cube: Path) -> Scene:
    """A cube on a plain ground, in the light of a large sun."""
    measurement = worker.measure(str(cube), "slide", (0.0,))
    bare = build_scene(
        str(cube),
        "slide",
        (0.0,),
        measurement,
        **SIZE,
        rng=np.random.default_rng(3),
        camera=LOW,
        light=LightSettings(),
        on_ground=True,
    )
    lights = Lights(Sun((0.4, 0.5, 0.8), 1.6, 0.5), (0.3,) * 3, (0.3,) * 3)
    height = -bare.normalisation.scale - 1e-4  # the cube's side is 2 m
    ground = Ground("plain", height, ((0.5,) * 3, (0.5,) * 3), 1.0, 1.0, (0.0, 0.0, 0.0), 8.0, 30.0)
    return replace(bare, lights=lights, ground=ground)


@pytest.fixture(scope="module")
def pixels(worker: BlenderWorker, scene: Scene) -> RenderedPixels:
    return worker.render(scene)


def on_ground(pixels: RenderedPixels, v: int) -> np.ndarray:
    """Pixels of a view whose neighbours show no object either."""
    return cv2.dilate(pixels.mask[v, 0], np.ones((3, 3), np.uint8)) == 0


def points_of(pixels: RenderedPixels, scene: Scene, v: int, where: np.ndarray) -> np.ndarray:
    camera = scene.cameras[v]
    view = camera.intrinsics_matrix(), camera.world_to_camera_matrix()
    return unproject(pixel_centres(scene.height, scene.width)[where], pixels.depth[v, 0][where], *view)


def test_depth_of_the_ground_is_where_rays_meet_the_plane(scene: Scene, pixels: RenderedPixels) -> None:
    assert scene.ground is not None
    xy = pixel_centres(scene.height, scene.width)
    for v, camera in enumerate(scene.cameras):
        lens, pose = camera.intrinsics_matrix(), camera.world_to_camera_matrix()
        eye = camera_centre(pose)
        assert eye[2] > 0.0 > scene.ground.height  # asked for 30 degrees below the horizon
        along = unproject(xy.reshape(-1, 2), np.ones(xy.size // 2), lens, pose) - eye
        expected = ((scene.ground.height - eye[2]) / along[:, 2]).reshape(scene.height, scene.width)
        where = on_ground(pixels, v) & (expected > 0.0) & (expected < 10.0)
        assert where.sum() > 1000
        error = np.abs(pixels.depth[v, 0][where] / expected[where] - 1.0)
        assert np.median(error) < 0.02  # of one sample somewhere in the pixel
        hit = np.isfinite(pixels.depth[v, 0])
        assert np.isinf(pixels.depth[v, 0][:3]).all()  # above the horizon
        assert points_of(pixels, scene, v, hit & ~on_ground(pixels, v))[:, 2].min() > scene.ground.height - 0.1


def test_the_mask_is_the_objects_alone(worker: BlenderWorker, scene: Scene, pixels: RenderedPixels) -> None:
    bare = worker.render(replace(scene, ground=None))
    assert bare.coverage is None
    assert np.abs(pixels.alpha - bare.alpha).max() < 0.01
    assert pixels.colour[..., 3].mean() > 2.0 * pixels.alpha.mean()
    exr = worker.render(scene, "exr")
    assert np.array_equal(exr.colour, pixels.colour)
    assert np.array_equal(exr.mask, pixels.mask)


def shade(worker: BlenderWorker, scene: Scene, angle: float) -> np.ndarray:
    """Brightness of the ground near the cube, as a share of where it is lit."""
    assert scene.lights.sun is not None
    lights = replace(scene.lights, sun=replace(scene.lights.sun, angle=angle))
    pixels = worker.render(replace(scene, lights=lights, samples=64))
    found = []
    for v in range(len(scene.cameras)):
        where = on_ground(pixels, v) & np.isfinite(pixels.depth[v, 0])
        near = np.linalg.norm(points_of(pixels, scene, v, where)[:, :2], axis=1) < 2.0
        found.append(pixels.colour[v, 0, ..., 1][where][near].astype(np.float64))
    values = np.concatenate(found)
    return np.asarray(values / np.percentile(values, 90))


def test_objects_throw_soft_shadows(worker: BlenderWorker, scene: Scene) -> None:
    hard, soft = shade(worker, scene, 0.01), shade(worker, scene, 0.5)
    for values in (hard, soft):
        assert (values < 0.55).mean() > 0.02
        assert (values > 0.9).mean() > 0.3
    half = [((values > 0.5) & (values < 0.8)).mean() for values in (hard, soft)]
    assert half[1] > 1.5 * half[0]


def test_each_of_several_objects_is_in_its_place_at_its_moment(worker: BlenderWorker, cube: Path) -> None:
    starts = (0.0, 0.5)
    alone = [worker.measure(str(cube), "slide", (start, start + 0.4)) for start in starts]
    placements = arrange(alone, np.random.default_rng(1))
    there = together([placed(m, p) for m, p in zip(alone, placements, strict=True)])
    cast = tuple(Actor(str(cube), "slide", start, p) for start, p in zip(starts, placements, strict=True))
    times_s, rng = (0.0, 0.4), np.random.default_rng(0)
    made = build_scene(
        str(cube), "slide", times_s, there, **SIZE, rng=rng, camera=CameraSettings(), light=LightSettings()
    )
    scene = replace(made, cast=cast, samples=4)
    assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene
    pixels = worker.render(scene)
    corners = [
        [np.array(p.matrix()) @ [x + start + t, y, z, 1.0] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
        for t in times_s
        for start, p in zip(starts, placements, strict=True)
    ]
    for v, camera in enumerate(scene.cameras):
        for t in range(2):
            expected = np.zeros((64, 96), np.uint8)
            for eight in corners[2 * t : 2 * t + 2]:
                normal = scene.normalisation
                world = (np.array(eight)[:, :3] - normal.centre) * normal.scale
                xy, _ = project(world, camera.intrinsics_matrix(), camera.world_to_camera_matrix())
                cv2.fillConvexPoly(expected, cv2.convexHull((xy - 0.5).round().astype(np.int32)), 1)
            seen = pixels.mask[v, t] > 127
            assert (seen & (expected > 0)).sum() / (seen | (expected > 0)).sum() > 0.9


def process(config: Config, items: list[Item]) -> dict[str, Grid | ItemFailure]:
    renderer, made = Renderer(config), {}
    for item in items:
        try:
            made[item.key] = renderer.process(item)
        except ItemFailure as failure:
            made[item.key] = failure
    renderer.close()
    return made


def test_real_assets_in_pairs(shared_data: Path, tmp_path: Path) -> None:
    config = Config(
        assets=str(shared_data / "glb"),
        out=str(tmp_path),
        views=2,
        times=3,
        height=48,
        width=80,
        samples=2,
        fps=4.0,
        objects_per_scene=(2, 2),
        depth=True,
    )
    items = list(data_job(config).list_items())
    assert len(items) == len(list(open_assets(config.assets, 0).items()))
    made = process(config, items)
    grids = [grid for grid in made.values() if isinstance(grid, Grid)]
    for key, failure in made.items():
        if isinstance(failure, ItemFailure):
            assert "alien_static" in str(failure), key
            assert failure.reason == "no_animation"
    assert any("alien_static" in key and isinstance(value, ItemFailure) for key, value in made.items())
    assert len(grids) >= 2
    for grid in grids:
        objects = grid.meta.provenance["objects"]
        assert len({o["sha256"] for o in objects}) == 2
        assert grid.mask is not None
        assert grid.depth is not None
        assert 0.01 < (grid.mask > 127).mean() < 0.6
        assert np.isfinite(grid.depth).mean() > 0.4
    last = grids[-1]  # in a new child, with nothing before it
    other = process(config, [item for item in items if item.key == last.key])[last.key]
    assert isinstance(other, Grid)
    assert encode(last) == encode(other)


def test_models_made_from_a_seed_share_a_scene(tmp_path: Path) -> None:
    size = {"views": 1, "times": 2, "height": 48, "width": 80, "samples": 1}
    config = Config(assets="procedural:3", out=str(tmp_path), objects_per_scene=(3, 3), **size)
    (first, *_) = data_job(config).list_items()
    (grid,) = process(config, [first]).values()
    assert isinstance(grid, Grid), grid
    assert len(grid.meta.provenance["objects"]) == 3
    assert grid.meta.licence == "CC0-1.0"
    assert grid.meta.provenance["ground"]["height"] < 0.0


def test_ground_alone_leaves_the_plan_as_it_is(tmp_path: Path) -> None:
    config = Config(assets="procedural:2", out=str(tmp_path), ground=GroundSettings(kind="plain"))
    assert config.ground_kind == "plain"
    assert [item.spec.get("objects") for item in data_job(config).list_items()] == [None, None]
    assert Config(assets="procedural:2", out=str(tmp_path)).ground_kind == "none"
    assert Config(assets="procedural:2", out=str(tmp_path), objects_per_scene=(2, 3)).ground_kind == "any"
