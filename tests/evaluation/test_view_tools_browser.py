"""What a person does on the page beyond moving: maps, routes, epipolar lines, kept panels, long lists; by touch too."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from page_viewer import Viewer
from synthetic_grids import make_grid

from fourreal.evaluation.metrics import Comparison, choose_metrics
from fourreal.evaluation.view import Config, run
from fourreal.evaluation.view_page import Entry, build_page, panel_of_frames
from fourreal.platform.cameras import intrinsics, orbit, project
from fourreal.platform.codec import encode
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

pytestmark = pytest.mark.browser

V, T, H, W = 4, 5, 60, 80
POINT = np.array([[0.35, -0.2, 0.25]])
POSES = orbit(np.linspace(-0.6, 0.6, V), 0.3, 3.0)
MATRICES = np.repeat(intrinsics(W, H, vertical_fov=0.7)[None], V, axis=0)


def scene(key: str, shade: int) -> Grid:
    frames = np.full((V, T, H, W, 3), shade, np.uint8)
    for v in range(V):
        (x, y), _ = project(POINT, MATRICES[v], POSES[v])[0][0], None
        for t in range(T):
            frames[v, t, int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 250
            frames[v, t, 5 * v : 5 * v + 5, 10 * t : 10 * t + 10] = (60 * v, 50 * t, 120)
            frames[v, t, -12:] = 40 * ((v + t * t) % 5)
    return Grid(frames=frames, intrinsics=MATRICES, world_to_camera=POSES, meta=GridMeta(key, fps=20.0))


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    for name, shade in (("true", 120), ("made", 100)):
        grids = [scene(f"scene-{i}", shade + 10 * i) for i in range(2)]
        write_shard(Storage(str(folder / name)), 0, [(grid.key, encode(grid)) for grid in grids])
    run(Config(folders=(str(folder / "true"), str(folder / "made")), out=folder / "page.html"))
    return folder / "page.html"


@pytest.fixture
def viewer(browser: Any, page_path: Path) -> Iterator[Viewer]:
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    opened = Viewer(context, page_path)
    yield opened
    assert opened.complaints == []
    assert opened.requests == [opened.url]
    context.close()


def shown_frames(page_path: Path, panel: int) -> np.ndarray:
    """The frames of the first grid as the page holds them, through JPEG; [V, T, H, W, 3]."""
    block = re.search(rf'id="frames-0-{panel}">\n(.*?)\n</script>', page_path.read_text(), re.S)
    assert block is not None
    return np.stack([simplejpeg.decode_jpeg(base64.b64decode(line)) for line in block[1].split()]).reshape(
        V, T, H, W, 3
    )


def levels(viewer: Viewer) -> list[float]:
    viewer.page.wait_for_function(
        "[...document.querySelectorAll('.kind')].every((k) => k.textContent.includes('grey'))"
    )
    return [float(text.split()[0]) for text in viewer.kinds()]


def test_the_difference_map_is_the_difference(viewer: Viewer, page_path: Path) -> None:
    before = viewer.pictures()
    viewer.page.select_option("#shown", "difference")
    viewer.page.keyboard.press("Escape")
    viewer.point("#plane", 0.5, 0.6)
    viewer.wait(2, 2)
    viewer.page.wait_for_selector("body[data-shown=difference]")
    true, made = (shown_frames(page_path, panel)[2, 2].astype(int) for panel in (0, 1))
    assert levels(viewer) == pytest.approx([0.0, np.abs(true - made).mean()], abs=0.3)
    assert viewer.pictures() != before


def test_the_flicker_map_has_the_flicker_of_the_metric(viewer: Viewer, page_path: Path) -> None:
    viewer.page.keyboard.press("m")
    viewer.page.keyboard.press("m")
    viewer.page.wait_for_selector("body[data-shown=flicker]")
    assert viewer.kinds() == ["no frame before or after"] * 2
    for _ in range(2):
        viewer.page.keyboard.press("ArrowRight")
    viewer.wait(0, 2)
    frames = shown_frames(page_path, 0)[:1, 1:4]  # the one triple of frames around the one that is shown
    (metric,) = choose_metrics(["flicker"])
    expected = metric.compute(Comparison("x", frames[0], grid=frames)).value
    assert expected is not None
    assert expected > 1
    assert levels(viewer)[0] == pytest.approx(expected, abs=0.3)
    viewer.page.keyboard.press("m")
    viewer.page.wait_for_selector("body[data-shown=frames]")


def note_trail(viewer: Viewer) -> None:
    viewer.page.evaluate(
        """() => {
            window.trail = [];
            const note = () => window.trail.push(document.body.dataset.view + document.body.dataset.time);
            new MutationObserver(note).observe(document.body, { attributeFilter: ["data-time"] });
        }"""
    )


def trail(viewer: Viewer, length: int) -> list[str]:
    viewer.until(f"window.trail.length >= {length}")
    return list(viewer.page.evaluate(f"window.trail.slice(0, {length})"))


def test_bullet_time_stops_time_while_the_camera_goes_round(viewer: Viewer) -> None:
    note_trail(viewer)
    viewer.page.keyboard.press("b")
    assert trail(viewer, 11) == ["01", "02", "12", "22", "32", "22", "12", "02", "03", "04", "00"]


def test_a_drawn_path_is_played(viewer: Viewer) -> None:
    assert viewer.page.is_disabled("#play-drawn")
    viewer.page.click("#draw")
    viewer.point("#plane", 0.1, 0.1)
    viewer.page.mouse.down()
    viewer.point("#plane", 0.5, 0.9)  # jumps: the cells between belong to the path
    viewer.point("#plane", 0.9, 0.9)
    viewer.wait(3, 4)
    note_trail(viewer)
    viewer.page.mouse.up()
    assert trail(viewer, 6)[:6] == ["00", "11", "21", "32", "33", "34"]
    assert viewer.page.get_attribute("#play-drawn", "aria-pressed") == "true"
    viewer.page.keyboard.press("g")
    assert viewer.page.get_attribute("#play-drawn", "aria-pressed") == "false"


def test_epipolar_lines_pass_through_the_same_point_of_the_scene(viewer: Viewer) -> None:
    viewer.page.keyboard.press("e")
    canvas = viewer.page.locator(".stage canvas").first
    box = canvas.bounding_box()
    (x, y), *_ = project(POINT, MATRICES[0], POSES[0])[0]
    viewer.page.mouse.click(box["x"] + x / W * box["width"], box["y"] + y / H * box["height"])
    dot = viewer.page.locator(".overlay circle").first
    assert float(dot.get_attribute("cx")) == pytest.approx(x, abs=0.3)
    for v in range(1, V):
        viewer.page.keyboard.press("ArrowDown")
        viewer.wait(v, 0)
        viewer.page.wait_for_selector(".overlay line", state="attached")
        line = viewer.page.locator(".overlay line").first
        x1, y1, x2, y2 = (float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
        (px, py), *_ = project(POINT, MATRICES[v], POSES[v])[0]
        distance = abs((x2 - x1) * (py - y1) - (y2 - y1) * (px - x1)) / np.hypot(x2 - x1, y2 - y1)
        assert distance < 0.6  # of a pixel: the click is rounded to one of the screen
        assert np.hypot(x2 - x1, y2 - y1) > W / 4
    viewer.page.keyboard.press("e")
    assert viewer.page.locator(".overlay line").count() == 0


def test_a_kept_panel_stays_beside_other_grids_in_step(viewer: Viewer) -> None:
    viewer.page.locator(".keep").first.click()
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("body[data-grid='scene-1']")
    labels = viewer.page.locator(".stage figcaption button:not(.keep)").all_inner_texts()
    assert labels == ["scene-0: true", "true", "made"]
    before = viewer.pictures()
    viewer.page.keyboard.press("End")
    viewer.wait(0, T - 1)
    assert all(a != b for a, b in zip(before, viewer.pictures(), strict=True))
    viewer.page.locator(".keep").first.click()
    assert viewer.page.locator(".stage figure").count() == 2


def test_fingers_draw_paths_and_mark_points(browser: Any, page_path: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    viewer = Viewer(context, page_path)
    page = viewer.page
    page.tap("#epipolar")
    box = page.locator(".stage canvas").first.bounding_box()
    page.touchscreen.tap(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    assert page.locator(".overlay circle").count() == 2
    page.tap("#draw")
    page.locator("#plane").scroll_into_view_if_needed()
    box = page.locator("#plane").bounding_box()
    session = context.new_cdp_session(page)

    def touch(kind: str, *at: float) -> None:
        points = [{"x": box["x"] + at[0] * box["width"], "y": box["y"] + at[1] * box["height"]}] if at else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.1, 0.1)
    touch("touchMove", 0.5, 0.1)
    touch("touchMove", 0.5, 0.9)
    viewer.wait(3, 2)
    note_trail(viewer)
    touch("touchEnd")
    assert trail(viewer, 6) == ["00", "01", "02", "12", "22", "32"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert viewer.complaints == []
    context.close()


def test_of_two_hundred_grids_only_those_in_sight_are_decoded(browser: Any, tmp_path: Path) -> None:
    grid = make_grid("g", 2, 2)
    panel = panel_of_frames("panel", grid.frames)
    entries = [Entry(GridMeta(f"grid-{i:03d}", caption="a square"), [panel]) for i in range(200)]
    path = tmp_path / "page.html"
    path.write_text(build_page(entries), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    viewer = Viewer(context, path)
    page = viewer.page
    drawn = "document.querySelectorAll('#list canvas[data-drawn]').length"
    viewer.until(f"{drawn} > 0")
    assert page.evaluate(drawn) < 60
    assert "200 grids" in page.inner_text("#count")
    page.locator("#list li").last.scroll_into_view_if_needed()
    page.wait_for_selector("#list li:last-child canvas[data-drawn]", timeout=120_000)
    assert page.evaluate(drawn) < 100
    page.locator("#list li button").last.click()
    page.wait_for_selector("body[data-grid='grid-199']")
    assert viewer.complaints == []
    context.close()
