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
from fourreal.datagen.blender.layout import arrange, in_world, placed, together
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.pixels import RenderedPixels
from fourreal.datagen.blender.scene import Actor, Ground, Lights, Scene, Sun
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.filters import Filters
from fourreal.datagen.render import Config, Renderer, data_job
from fourreal.datagen.scene_items import objects_of
from fourreal.platform.cameras import camera_centre, pixel_centres, project, unproject
from fourreal.platform.codec import encode
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.grid import Grid

pytestmark = pytest.mark.blender
SIZE = {"views": 2, "height": 64, "width": 96, "samples": 8}
HEIGHT, WIDTH = 64, 96
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
    """A cube that slides over a plain ground, in the light of a large sun."""
    times_s = (0.0, 0.2)
    bare = build_scene(
        [Actor(str(cube), "slide")],
        times_s,
        worker.measure(str(cube), "slide", times_s),
        **SIZE,
        rng=np.random.default_rng(3),
        camera=LOW,
        light=LightSettings(),
        on_ground=True,
    )
    lights = Lights(Sun((0.4, 0.5, 0.8), 1.6, 0.5), (0.3,) * 3, (0.3,) * 3)
    height = -bare.actors[0].placement.scale - 1e-4  # the cube's side is 2 m
    ground = Ground("plain", height, ((0.5,) * 3, (0.5,) * 3), 1.0, (0.0, 0.0, 0.0), 8.0, 30.0)
    return replace(bare, lights=lights, ground=ground)


@pytest.fixture(scope="module")
def pixels(worker: BlenderWorker, scene: Scene) -> RenderedPixels:
    return worker.render(scene, outputs=("normals", "flow"))


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
    bare = worker.render(replace(scene, ground=None), outputs=("normals", "flow"))
    assert bare.coverage is None
    assert np.abs(pixels.alpha - bare.alpha).max() < 0.01
    assert pixels.colour[..., 3].mean() > 2.0 * pixels.alpha.mean()
    objects = pixels.mask >= 128
    for name in ("normals", "flow"):
        with_ground, without = getattr(pixels, name), getattr(bare, name)
        assert np.allclose(with_ground[objects], without[objects], atol=0.02, equal_nan=True)
        assert np.isnan(without[~objects]).all()
    exr = worker.render(replace(scene, times_s=scene.times_s[:1]), "exr")
    assert np.array_equal(exr.colour, pixels.colour[:, :1])
    assert np.array_equal(exr.mask, pixels.mask[:, :1])


def test_the_ground_points_up_and_lies_still_while_the_cube_moves(pixels: RenderedPixels) -> None:
    assert pixels.normals is not None
    assert pixels.flow is not None
    alpha = pixels.colour[..., 3].astype(np.float32)
    objects = pixels.mask >= 128
    ground = (alpha - pixels.alpha > 0.51) & ~objects
    assert ground.mean() > 0.3
    assert (pixels.normals[ground] == [0.0, 0.0, 1.0]).all()
    assert (pixels.flow[:, 0][ground[:, 0]] == 0.0).all()
    assert np.linalg.norm(pixels.flow[:, 0][objects[:, 0]], axis=-1).min() > 0.5
    nothing = alpha < 0.5
    assert nothing.any()
    assert np.isnan(pixels.normals[nothing]).all()
    assert np.isnan(pixels.flow[:, 0][nothing[:, 0]]).all()
    assert np.isnan(pixels.flow[:, -1]).all()


def shade(worker: BlenderWorker, scene: Scene, angle: float) -> np.ndarray:
    """Brightness of the ground near the cube, as a share of where it is lit."""
    assert scene.lights.sun is not None
    lights = replace(scene.lights, sun=replace(scene.lights.sun, angle=angle))
    scene = replace(scene, lights=lights, samples=32, times_s=scene.times_s[:1])
    pixels = worker.render(scene)
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
    starts, times_s = (0.0, 0.5), (0.0, 0.4)
    alone = [worker.measure(str(cube), "slide", (start, start + 0.4)) for start in starts]
    placements = arrange(alone, np.random.default_rng(1))
    there = together([placed(m, p) for m, p in zip(alone, placements, strict=True)])
    actors = [Actor(str(cube), "slide", start, p) for start, p in zip(starts, placements, strict=True)]
    rng = np.random.default_rng(0)
    made = build_scene(actors, times_s, there, **SIZE, rng=rng, camera=CameraSettings(), light=LightSettings())
    scene = replace(made, samples=4)
    assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene
    in_scene = together(in_world(alone, scene))
    assert np.linalg.norm(in_scene.hull.reshape(-1, 3), axis=1).max() == pytest.approx(1.0)
    pixels = worker.render(scene)
    corners = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    for v, camera in enumerate(scene.cameras):
        for t, time_s in enumerate(times_s):
            expected = np.zeros((HEIGHT, WIDTH), np.uint8)
            for actor in scene.actors:
                world = actor.placement.apply(corners + np.array([actor.start_s + time_s, 0.0, 0.0]))
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


TINY = {"times": 2, "height": 32, "width": 48, "samples": 1, "device": "cpu"}


def test_real_assets_in_pairs(shared_data: Path, tmp_path: Path) -> None:
    config = Config(
        assets=str(shared_data / "glb"),
        out=str(tmp_path),
        views=2,
        fps=4.0,
        objects_per_scene=(2, 2),
        depth=True,
        **TINY,
    )
    items = list(data_job(config).list_items())
    assert len(items) == len(list(open_assets(config.assets, 0).items()))
    shows_static = ["alien_static" in " ".join(part.key for part in objects_of(item)) for item in items]
    picked = [items[shows_static.index(True)], *(i for i, bad in zip(items, shows_static, strict=True) if not bad)][:3]
    static, *grids = process(config, picked).values()
    assert isinstance(static, ItemFailure)
    assert static.reason == "no_animation"
    assert static.message.startswith("alien_static-")
    assert len(grids) == 2
    for grid in grids:
        assert isinstance(grid, Grid), grid
        objects = grid.meta.provenance["objects"]
        assert len({o["sha256"] for o in objects}) == 2
        assert grid.mask is not None
        assert grid.depth is not None
        assert 0.01 < (grid.mask > 127).mean() < 0.6
        assert np.isfinite(grid.depth).mean() > 0.4


def test_scenes_of_made_models_are_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    """Each order in children of its own, the second of which finds no models in the cache."""
    orders = []
    for name in ("there", "back"):
        config = Config(
            assets="procedural:2",
            out=str(tmp_path / name),
            views=1,
            objects_per_scene=(2, 2),
            normals=True,
            flow=True,
            filters=Filters(max_flicker=9.0),
            **TINY,
        )
        items = list(data_job(config).list_items())
        orders.append(process(config, items if name == "there" else items[::-1]))
    there, back = orders
    assert list(there) == list(back)[::-1]
    for key, grid in there.items():
        other = back[key]
        assert isinstance(grid, Grid), grid
        assert isinstance(other, Grid), other
        assert encode(grid) == encode(other)
        assert {"normals.pack", "flow.pack"} <= set(encode(grid))
        objects = grid.meta.provenance["objects"]
        assert key.endswith("-with-1")
        assert len({o["sha256"] for o in objects}) == 2
        assert grid.meta.licence == "CC0-1.0"
        assert grid.meta.provenance["ground"]["height"] < 0.0


def test_ground_alone_leaves_the_plan_as_it_is(cube: Path, tmp_path: Path) -> None:
    config = Config(assets=str(cube), out=str(tmp_path), ground=GroundSettings(kind="plain"), device="cpu")
    assert config.ground_kind == "plain"
    assert [item.spec.get("objects") for item in data_job(config).list_items()] == [None]
    assert Config(assets=str(cube), out=str(tmp_path)).ground_kind == "none"
    assert Config(assets=str(cube), out=str(tmp_path), objects_per_scene=(2, 3)).ground_kind == "any"
