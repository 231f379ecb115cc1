"""Statistics of motion and of pixels, and what is refused for them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from tests.datagen.glb import Glb, moving_cube
from tests.datagen.test_scene import measurement_of, scene_of

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.blender.layout import in_world
from fourreal.datagen.blender.pixels import RenderedPixels
from fourreal.datagen.blender.scene import Measurement, Scene
from fourreal.datagen.filters import Filters, check
from fourreal.datagen.render import Renderer
from fourreal.datagen.render_config import Config
from fourreal.datagen.statistics import geometry_statistics, hull_areas, pixel_statistics
from fourreal.platform.datajob import ItemFailure
from fourreal.platform.errors import UserError

V, T, H, W = 2, 6, 24, 32
STILL = {"min_motion": 0.0}


def square(t: int, *, colour: float = 0.5, two_colours: bool = True, top: int = 6) -> np.ndarray:
    """Linear premultiplied RGBA of a square that moves to the right."""
    image = np.zeros((H, W, 4), np.float16)
    image[top : top + 12, 4 + t : 16 + t] = [colour, colour, colour, 1.0]
    if two_colours:
        image[top : top + 6, 4 + t : 16 + t, 1:3] *= 0.3
    return image


def pixels_of(frames: list[np.ndarray]) -> RenderedPixels:
    colour = np.stack([np.stack(frames)] * V)
    return RenderedPixels(colour, np.ones(colour.shape[:-1], np.float32))


def of_pixels(pixels: RenderedPixels, hull: np.ndarray | None = None) -> dict[str, float]:
    """Of pixels whose geometry, unless it is given, always fills the same part of the frame."""
    return pixel_statistics(pixels, np.ones((V, T)) if hull is None else hull)


def reason_of(statistics: dict[str, float], **settings: float) -> str:
    try:
        check(statistics, Filters(**settings), times=T)
    except ItemFailure as failure:
        return failure.reason
    return "kept"


def moved(scale: list[float], shift: list[float]) -> dict[str, float]:
    cloud = np.random.default_rng(0).normal(size=(1, 64, 3))
    points = cloud * np.array(scale)[:, None, None] + np.array(shift)[:, None, None]
    measurement = Measurement(points, points, points[..., 2].min(axis=1))
    return motion_of(scene_of(measurement), measurement)


def motion_of(scene: Scene, measurement: Measurement) -> dict[str, float]:
    (in_scene,) = in_world([measurement], scene)
    return geometry_statistics(scene, in_scene)


def test_motion_is_measured_in_pixels_and_knows_still_from_moving() -> None:
    moving = measurement_of(2)
    scene = scene_of(moving)
    still = motion_of(scene, replace(moving, points=np.repeat(moving.points[:1], 4, axis=0)))
    assert still["p95_share"] == still["max_px"] == 0.0
    assert reason_of(still) == "static"
    motion = motion_of(scene, moving)
    assert 1.0 < motion["mean_px"] < motion["p95_px"] <= motion["max_px"]
    assert motion["p95_share"] == pytest.approx(motion["p95_px"] / 96)
    assert reason_of(motion) == "kept"
    single = measurement_of(0, times=1)
    assert motion_of(scene_of(single), single)["mean_px"] == 0.0
    check(motion_of(scene_of(single), single), Filters(), times=1)


def test_what_grows_or_travels_too_far_is_refused() -> None:
    assert moved([1, 1, 1], [0, 1, 2])["growth"] == pytest.approx(1.0)
    assert reason_of(moved([1, 1.5, 2], [0, 0.1, 0.2])) == "kept"
    exploding = moved([1, 1, 9], [0, 0.1, 0.2])
    assert exploding["growth"] == pytest.approx(9.0)
    assert reason_of(exploding) == "exploding"
    assert reason_of(exploding, max_growth=10.0) == "kept"
    assert moved([1, 1, 1], [0, 0, 0])["travel"] == pytest.approx(1.0)
    assert reason_of(moved([1, 1, 1], [0, 20, 40])) == "leaves_frame"


def test_good_pixels_are_kept_and_measured() -> None:
    statistics = of_pixels(pixels_of([square(t) for t in range(T)]))
    assert reason_of(statistics) == "kept"
    assert statistics["coverage_mean"] == statistics["coverage_min"] == pytest.approx(144 / (H * W))
    assert statistics["silhouette_change"] == pytest.approx(24 / 156)
    assert statistics["border_share"] == 0.0
    assert statistics["flicker"] < 0.01
    again = of_pixels(pixels_of([square(0)] * T))
    assert again["silhouette_change"] == again["flicker"] == 0.0


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([square(t, colour=0.0 if t % 2 else 1.0) for t in range(T)], "flicker"),
        ([square(t) if t % 2 else square(t)[:, ::-1] * (np.arange(W)[:, None] % 4 == 0) for t in range(T)], "flicker"),
        ([square(t) if t != 3 else 0 * square(t) for t in range(T)], "blank"),
        ([square(t, two_colours=False) for t in range(T)], "one_colour"),
        ([square(t, colour=0.0) for t in range(T)], "one_colour"),
        ([square(t, top=12) for t in range(T)], "leaves_frame"),
    ],
)
def test_bad_pixels_are_refused_with_the_reason(frames: list[np.ndarray], reason: str) -> None:
    statistics = of_pixels(pixels_of(frames))
    assert reason_of(statistics) == reason
    off = {f.name: 0.0 if f.name.startswith("min") else 1e9 for f in fields(Filters)}
    assert reason_of(statistics, **off) == "kept"


def test_fast_motion_is_no_flicker_where_the_geometry_says_that_it_is_motion() -> None:
    sizes = np.array([4.0, 9.0] * (T // 2))
    frames = [square(0) * (np.mgrid[:H, :W].max(axis=0) < 6 + size)[..., None] for size in sizes]
    jumping = pixels_of(frames)
    assert reason_of(of_pixels(jumping)) == "flicker"
    area = jumping.alpha.mean(axis=(2, 3))
    assert reason_of(of_pixels(jumping, area)) == "kept"
    assert reason_of(of_pixels(pixels_of([square(0)] * T), area)) == "kept", "nothing of that is seen"


def test_hull_areas_follow_a_ball_that_grows_and_shrinks() -> None:
    ball = np.random.default_rng(0).normal(size=(500, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    points = ball * np.array([1.0, 0.5, 0.25, 0.5])[:, None, None]
    measurement = Measurement(points, points, points[..., 2].min(axis=1))
    scene = scene_of(measurement)
    (in_scene,) = in_world([measurement], scene)
    areas = hull_areas(scene, in_scene)
    assert areas.shape == (5, 4)
    assert np.sqrt(areas / areas[:, :1]) == pytest.approx(np.array([[1.0, 0.5, 0.25, 0.5]] * 5), rel=0.1)
    wide_px = np.sqrt(areas[:, 0] * 96 * 160 * 4.0 / np.pi)
    assert 0.6 * 96 < wide_px.max() < 0.9 * 96


def test_noise_alone_is_no_colour_and_no_flicker() -> None:
    rng = np.random.default_rng(0)
    frames = [square(t, two_colours=False) for t in range(T)]
    noisy = [frame * rng.uniform(0.8, 1.2, (H, W, 1)).astype(np.float16) ** [1, 1, 1, 0] for frame in frames]
    statistics = of_pixels(pixels_of(noisy))
    assert statistics["flicker"] < 0.02
    assert statistics["colour_spread"] < 0.03


def test_a_threshold_below_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"--filters\.max-growth must be 0 or more"):
        Filters(max_growth=-1.0)


@pytest.mark.blender
def test_rendered_assets_end_as_grids_or_with_their_reason(tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    folder.mkdir()
    moving_cube(folder / "good.glb")
    far = Glb()
    far.animate("a", far.node(), [0.0, 1.0], [[0, 0, 0], [50, 0, 0]])
    far.write(folder / "leaves_frame.glb")
    apart = Glb()
    for side in (-1, 1):
        apart.animate(f"{side}", apart.node(), [0.0, 1.0], [[0, 0, 0], [side * 30, 0, 0]])
    apart.write(folder / "exploding.glb")
    still = Glb()
    still.animate("a", still.node(), [0.0, 1.0], [[0, 0, 0], [1e-4, 0, 0]])
    still.write(folder / "static.glb")
    for name, pbr in {
        "blank": {"baseColorFactor": [1, 1, 1, 0]},
        "one_colour": {"baseColorFactor": [0, 0, 0, 1], "roughnessFactor": 1.0},
    }.items():
        painted = Glb()
        look = {"extensions": {"KHR_materials_unlit": {}}} if name == "one_colour" else {"alphaMode": "BLEND"}
        material = painted.add("materials", {"pbrMetallicRoughness": pbr, **look})
        painted.animate("a", painted.node(material=material), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
        painted.document["extensionsUsed"] = ["KHR_materials_unlit"]
        painted.write(folder / f"{name}.glb")
    config = Config(assets=str(folder), out=str(tmp_path), views=2, times=3, height=32, width=48, samples=1, fps=2.0)
    renderer = Renderer(config)
    try:
        for item in list_assets(open_assets(config.assets, 0), 1):
            expected = item.key.rpartition("-")[0]
            if expected == "good":
                assert 0.0 < renderer.process(item).meta.motion["silhouette_change"] < 0.5
                continue
            with pytest.raises(ItemFailure, match="--filters") as caught:
                renderer.process(item)
            assert (caught.value.stage, caught.value.reason) == ("filter", expected)
    finally:
        renderer.close()
