"""The tab of splats: what WebGL draws is what the rasterizer draws, from the grid's cameras and from any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from page_viewer import Viewer
from synthetic_grids import make_grid
from tests.evaluation.ball_scene import H, T, W, gaussians, moving_ball

from fourreal.evaluation.reconstruction import Camera, FittedScene, Observations, time_of
from fourreal.evaluation.reconstruction.deformation import Deformation
from fourreal.evaluation.reconstruction.environment import Environment
from fourreal.evaluation.reconstruction.sequence_file import dump_sequence
from fourreal.evaluation.view import Config, run
from fourreal.platform.codec import encode
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def observations() -> Observations:
    return Observations.of_grid(moving_ball())


@pytest.fixture(scope="module")
def scene(observations: Observations) -> FittedScene:
    """A ball that moves as no fit would have it, before a picture in which no two directions look alike."""
    room, draw = observations.room(), torch.Generator().manual_seed(0)
    deformation, environment = Deformation(room.centre, room.extent, T), Environment()
    rows, columns = environment.picture.shape[2:]
    y, x = torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 6.283, columns + 1)[:-1], indexing="ij")
    with torch.no_grad():
        environment.picture[0] = torch.stack([y, 0.5 + 0.4 * x.cos(), 0.5 + 0.4 * x.sin()])
        for plane in deformation.planes:
            plane.copy_(0.5 + torch.rand(plane.shape, generator=draw))
        deformation.network[-1].weight.copy_(0.2 * torch.randn(10, 64, generator=draw))
    return FittedScene(gaussians(300), deformation, environment)


@pytest.fixture(scope="module")
def page_path(scene: FittedScene, observations: Observations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splats")
    grids = [moving_ball(), make_grid("plain", 2, 2)]
    storage = Storage(str(folder / "grids"))
    write_shard(storage, 0, [(grid.key, encode(grid)) for grid in grids])
    storage.write("scenes/ball/sequence.safetensors", dump_sequence(scene, observations, T))
    run(Config(folders=(str(folder / "grids"),), out=folder / "page.html"))
    return folder / "page.html"


class SplatViewer(Viewer):
    """The page with its tab of splats open."""

    def __init__(self, context: Any, path: Path) -> None:
        super().__init__(context, path)
        self.page.click("#tab-splats")
        self.canvas = self.page.locator("#splats")
        self.seen = ""

    def drawn(self) -> tuple[int, int, np.ndarray]:
        """Waits for another drawing; its view, time and world-to-camera."""
        self.until(f"(document.getElementById('splats').dataset.drawn ?? '') !== '{self.seen}'")
        self.seen = self.canvas.get_attribute("data-drawn")
        _, view, time, pose = self.seen.split()
        return int(view), int(time), np.array([float(x) for x in pose.split(",")]).reshape(4, 4)

    def picture(self) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(self.canvas.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        return np.asarray(image[..., ::-1])


@pytest.fixture
def viewer(browser: Any, page_path: Path) -> Iterator[SplatViewer]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    opened = SplatViewer(context, page_path)
    yield opened
    assert opened.complaints == []
    assert opened.requests == [opened.url]
    context.close()


def rendered(scene: FittedScene, camera: Camera, time: int, shape: tuple[int, ...]) -> np.ndarray:
    """The scene from our rasterizer, as large as the canvas: the blur of 0.3 px grows with it, as on the page."""
    image = (255 * scene.render(camera, time_of(time, T)).colour.clamp(0, 1)).byte().numpy()
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    inner = (slice(24, -24), slice(24, -24))  # rounded corners
    squared = (one[inner].astype(float) - other[inner]) ** 2
    return float(10 * np.log10(255**2 / squared.mean()))


def test_the_page_draws_what_the_rasterizer_draws(
    viewer: SplatViewer, scene: FittedScene, observations: Observations
) -> None:
    view, time, _ = viewer.drawn()
    assert (view, time) == (0, 0)
    first = viewer.picture()
    assert psnr(first, rendered(scene, observations.cameras[0], 0, first.shape)) > 30
    viewer.page.keyboard.press("End")
    viewer.page.keyboard.press("ArrowDown")
    while viewer.drawn()[:2] != (1, T - 1):
        pass
    last = viewer.picture()
    right = psnr(last, rendered(scene, observations.cameras[1], T - 1, last.shape))
    assert right > 30
    for v, t in ((0, T - 1), (1, 0)):  # what would not tell views and times apart would prove nothing
        assert psnr(last, rendered(scene, observations.cameras[v], t, last.shape)) < right - 3


def test_dragging_turns_round_the_middle_and_the_wheel_comes_closer(
    viewer: SplatViewer, scene: FittedScene, observations: Observations
) -> None:
    _, _, before = viewer.drawn()
    room = observations.room()
    box = viewer.canvas.bounding_box()
    viewer.page.mouse.move(box["x"] + 200, box["y"] + 150)
    viewer.page.mouse.down()
    viewer.page.mouse.move(box["x"] + 320, box["y"] + 150)
    viewer.page.mouse.up()
    _, _, turned = viewer.drawn()
    target = np.append(room.centre.numpy(), 1)
    assert np.allclose((turned @ target)[:3], (before @ target)[:3], atol=5e-3)
    angle = np.degrees(np.arccos(((np.trace(turned[:3, :3] @ before[:3, :3].T) - 1) / 2).clip(-1, 1)))
    assert angle > 15
    assert abs(turned[0, 2]) < 2e-3  # the horizon stays level
    pose = torch.from_numpy(turned).float()
    camera = Camera(observations.cameras[0].intrinsics, pose, H, W)
    image = viewer.picture()
    assert psnr(image, rendered(scene, camera, 0, image.shape)) > 28
    viewer.page.mouse.wheel(0, -400)
    _, _, closer = viewer.drawn()
    assert (closer @ target)[2] < 0.8 * (turned @ target)[2]
    viewer.page.click("#splat-home")
    assert np.allclose(viewer.drawn()[2], before, atol=2e-3)


def test_it_plays_and_the_tab_is_there_only_where_there_is_a_scene(viewer: SplatViewer) -> None:
    viewer.drawn()
    viewer.page.keyboard.press("t")
    times = {viewer.drawn()[1] for _ in range(4)}
    assert len(times) > 1
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("body[data-grid='plain'][data-tab='frames']")
    assert not viewer.page.is_visible("#tabs")
    assert viewer.page.is_visible("#stage")


def test_two_fingers_zoom(browser: Any, page_path: Path, observations: Observations) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    viewer = SplatViewer(context, page_path)
    _, _, before = viewer.drawn()
    box = viewer.canvas.bounding_box()
    session = context.new_cdp_session(viewer.page)

    def touch(kind: str, *offsets: float) -> None:
        y = box["y"] + box["height"] / 2
        points = [{"x": box["x"] + box["width"] / 2 + dx, "y": y, "id": i} for i, dx in enumerate(offsets)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -20, 20)
    touch("touchMove", -60, 60)
    touch("touchEnd")
    target = np.append(observations.room().centre.numpy(), 1)
    _, _, after = viewer.drawn()
    assert (after @ target)[2] < 0.7 * (before @ target)[2]
    assert viewer.complaints == []
    context.close()
