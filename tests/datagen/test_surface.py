"""Normals and flow of a render, against the geometry that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.datagen.glb import Glb, moving_cube

from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.framing import build_scene
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.pixels import RenderedPixels
from fourreal.datagen.blender.scene import Actor, Camera, Measurement, Scene
from fourreal.datagen.blender.surface import passes_for
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.platform.cameras import pixel_centres, project, unproject

pytestmark = pytest.mark.blender
H, W = 96, 160
BOTH = ("normals", "flow")


@pytest.fixture(scope="module")
def worker() -> Iterator[BlenderWorker]:
    with BlenderWorker() as shared:
        yield shared


def scene_of(worker: BlenderWorker, asset: Path, *, times: int = 3, samples: int = 4) -> tuple[Scene, Measurement]:
    """Two views, times from a tenth to four tenths of the clip."""
    clip = worker.load(str(asset)).clips[0]
    times_s = tuple((clip.start_s + clip.duration_s * np.linspace(0.1, 0.4, times)).tolist())
    measurement = worker.measure(str(asset), clip.name, times_s)
    looks = {"camera": CameraSettings(), "light": LightSettings(), "rng": np.random.default_rng(0)}
    size = {"views": 2, "height": H, "width": W, "samples": samples}
    return build_scene([Actor(str(asset), clip.name)], times_s, measurement, **size, **looks), measurement


def matrices(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    return camera.intrinsics_matrix(), camera.world_to_camera_matrix()


def interior(pixels: RenderedPixels, v: int, t: int, margin: int = 1) -> np.ndarray:
    """Pixels whose neighbours are all full of the asset."""
    size = 2 * margin + 1
    return cv2.erode((pixels.mask[v, t] == 255).astype(np.uint8), np.ones((size, size), np.uint8)) > 0


def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    assert a is not None
    assert b is not None
    return np.array_equal(a, b, equal_nan=True)


def test_a_sliding_cube_has_its_flow_and_its_normals(worker: BlenderWorker, tmp_path: Path) -> None:
    scene, _ = scene_of(worker, moving_cube(tmp_path / "cube.glb"))
    pixels = worker.render(scene, outputs=BOTH)
    assert pixels.flow is not None
    assert pixels.normals is not None
    assert np.isnan(pixels.flow[:, -1]).all()
    mostly = pixels.mask >= 128
    assert np.array_equal(np.isfinite(pixels.normals).all(axis=-1), mostly)
    assert np.array_equal(np.isfinite(pixels.flow[:, :-1]).all(axis=-1), mostly[:, :-1])
    step = np.array([scene.times_s[1] - scene.times_s[0], 0.0, 0.0]) * scene.actors[0].placement.scale
    for v, camera in enumerate(scene.cameras):
        for t in range(3):
            inside = interior(pixels, v, t)
            centres = pixel_centres(H, W)[inside]
            points = unproject(centres, pixels.depth[v, t][inside], *matrices(camera))
            normals = pixels.normals[v, t][inside]
            toward = np.linalg.inv(camera.world_to_camera_matrix())[:3, 3] - points
            assert (np.sum(normals * toward, axis=1) > 0).all()
            on_one_face = np.abs(normals).max(axis=1) > 0.999
            assert on_one_face.mean() > 0.85
            assert np.allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
            if t < 2:
                expected = project(points + step, *matrices(camera))[0] - project(points, *matrices(camera))[0]
                assert np.linalg.norm(expected, axis=1).min() > 0.5
                # Depth is of one sample somewhere in the pixel, flow of their mean.
                assert np.abs(pixels.flow[v, t][inside] - expected).max() < 0.1


def test_outputs_leave_colour_and_depth_as_they_are_and_go_through_files_too(
    worker: BlenderWorker, tmp_path: Path
) -> None:
    scene, _ = scene_of(worker, moving_cube(tmp_path / "cube.glb"), times=2, samples=2)
    plain, memory, exr = worker.render(scene), worker.render(scene, outputs=BOTH), worker.render(scene, "exr", BOTH)
    assert (plain.normals, plain.flow) == (None, None)
    assert exr.pixel_path == "exr"
    for name in ("colour", "depth"):
        assert same(getattr(plain, name), getattr(memory, name))
    for name in ("colour", "depth", *BOTH):
        assert same(getattr(memory, name), getattr(exr, name))
    alone = worker.render(scene, outputs=["flow"])
    assert alone.normals is None
    assert same(alone.flow, memory.flow)


def test_objects_that_share_a_mesh_have_their_own_flow(worker: BlenderWorker, tmp_path: Path) -> None:
    glb = Glb()
    first = glb.node()
    second = glb.add("nodes", {"mesh": 0})
    glb.animate("left", first, [0.0, 1.0], [[-2, 0, 0], [-4, 0, 0]])
    glb.animate("right", second, [0.0, 1.0], [[2, 0, 0], [4, 0, 0]])
    scene, _ = scene_of(worker, glb.write(tmp_path / "two.glb"))
    pixels = worker.render(scene, outputs=["flow"])
    assert pixels.flow is not None
    for v, camera in enumerate(scene.cameras):
        for t in range(2):
            inside = interior(pixels, v, t)
            points = unproject(pixel_centres(H, W)[inside], pixels.depth[v, t][inside], *matrices(camera))
            place = scene.actors[0].placement
            middle = place.apply(np.zeros(3))
            step = 2.0 * (scene.times_s[1] - scene.times_s[0]) * place.scale
            moved = points + np.sign(points[:, :1] - middle[0]) * [step, 0.0, 0.0]
            expected = project(moved, *matrices(camera))[0] - project(points, *matrices(camera))[0]
            error = np.linalg.norm(pixels.flow[v, t][inside] - expected, axis=1)
            assert np.percentile(error, 95) < 0.1


@pytest.mark.parametrize(("alpha", "known"), [(0.75, True), (0.3, False)])
def test_a_clear_surface_counts_as_far_as_it_is_opaque(
    worker: BlenderWorker, tmp_path: Path, alpha: float, known: bool
) -> None:
    glb = Glb()
    look = {"alphaMode": "BLEND", "pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, alpha]}}
    glb.animate("slide", glb.node(material=glb.add("materials", look)), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    scene, _ = scene_of(worker, glb.write(tmp_path / "glass.glb"), times=1)
    clear = worker.render(scene, outputs=["normals"])
    scene_opaque, _ = scene_of(worker, moving_cube(tmp_path / "cube.glb"), times=1)
    opaque = worker.render(scene_opaque, outputs=["normals"])
    assert clear.normals is not None
    assert opaque.normals is not None
    inside = np.stack([interior(opaque, v, 0) for v in range(2)])[:, None]
    finite = np.isfinite(clear.normals[inside]).all(axis=1)
    assert finite.all() if known else not finite.any()
    assert np.allclose(clear.normals[inside][finite], opaque.normals[inside][finite], atol=1e-5)


@pytest.mark.parametrize("name", ["CesiumMan", "AnimatedMorphCube", "BoxAnimated", "CesiumMilkTruck", "RiggedSimple"])
def test_real_assets_agree_with_their_vertices_and_their_depth(
    worker: BlenderWorker, shared_data: Path, name: str
) -> None:
    scene, measurement = scene_of(worker, shared_data / "glb" / f"{name}.glb")
    plain, pixels = worker.render(scene), worker.render(scene, outputs=BOTH)
    assert same(plain.colour, pixels.colour)
    assert same(plain.depth, pixels.depth)
    assert pixels.flow is not None
    assert pixels.normals is not None
    points = scene.actors[0].placement.apply(measurement.points)
    errors, moved, angles, arrived = [], [], [], []
    for v, camera in enumerate(scene.cameras):
        for t in range(3):
            angles.append(_angles_to_depth(pixels, v, t, camera))
            if t == 2:
                continue
            here, depth = project(points[t], *matrices(camera))
            expected = project(points[t + 1], *matrices(camera))[0] - here
            x, y = np.floor(here).astype(int).T
            flow = pixels.flow[v, t][y, x]
            seen = (np.abs(pixels.depth[v, t][y, x] - depth) < 0.05) & np.isfinite(flow).all(axis=1)
            errors.append(np.linalg.norm(flow - expected, axis=1)[seen])
            moved.append(np.linalg.norm(expected, axis=1)[seen])
            inside = interior(pixels, v, t)
            x, y = np.floor(pixel_centres(H, W)[inside] + pixels.flow[v, t][inside]).astype(int).T
            arrived.append(pixels.mask[v, t + 1][y, x] > 0)
    error = np.concatenate(errors)
    assert len(error) > 50
    assert np.concatenate(moved).max() > 3.0
    assert np.median(error) < 0.25
    assert np.percentile(error, 80) < 0.6  # others lie where a pixel shows two parts
    assert np.concatenate(arrived).mean() > 0.97
    assert np.median(np.concatenate(angles)) < (30.0 if name == "RiggedSimple" else 8.0)  # a cylinder a few pixels wide


def _angles_to_depth(pixels: RenderedPixels, v: int, t: int, camera: Camera) -> np.ndarray:
    """Degrees between normals and the slope of the surface that depth describes, away from edges."""
    assert pixels.normals is not None
    hit = np.isfinite(pixels.depth[v, t])
    surface = np.full((H, W, 3), np.nan)
    surface[hit] = unproject(pixel_centres(H, W)[hit], pixels.depth[v, t][hit], *matrices(camera))
    across, down = surface[2:-2, 4:] - surface[2:-2, :-4], surface[4:, 2:-2] - surface[:-4, 2:-2]
    slope = np.cross(down, across)
    inside = interior(pixels, v, t, margin=2)[2:-2, 2:-2]
    cosine = (slope * pixels.normals[v, t][2:-2, 2:-2]).sum(axis=-1) / np.linalg.norm(slope, axis=-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine[inside], -1.0, 1.0))))


@pytest.mark.parametrize(
    "fault",
    [
        "capture._planes = lambda result, planes=capture._planes: planes(None)",  # as if there were no result
        "capture._cycles_class = lambda: None",
    ],
)
def test_a_blender_that_gives_no_result_falls_back_to_files_by_itself(
    worker: BlenderWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    scene, _ = scene_of(worker, moving_cube(tmp_path / "cube.glb"), times=2, samples=1)
    expected = worker.render(scene, outputs=BOTH)
    assert expected.pixel_path == "memory"
    (tmp_path / "sitecustomize.py").write_text(  # Python runs it at the child's start
        """
import builtins
original = builtins.__import__
def with_fault(name, *rest, **named):
    module = original(name, *rest, **named)
    if name == "fourreal.datagen.blender.inside.session":
        from fourreal.datagen.blender.inside import capture
        FAULT
    return module
builtins.__import__ = with_fault
""".replace("FAULT", fault)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with BlenderWorker() as faulty:
        pixels = faulty.render(scene, outputs=BOTH)
    assert pixels.pixel_path == "exr"
    for name in ("colour", "depth", *BOTH):
        assert same(getattr(expected, name), getattr(pixels, name))


def test_nothing_is_written_that_is_not_asked_for() -> None:
    assert passes_for([]) == {}
    assert sum(passes_for(["normals"]).values()) == 4
    assert sum(passes_for(["flow"]).values()) == 7
    assert sum(passes_for(BOTH).values()) == 10
