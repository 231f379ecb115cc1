"""The page in a real Chromium: what a person does, and what must never happen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_viewer import Viewer
from synthetic_grids import make_grid

from fourreal.evaluation.view import Config, run
from fourreal.platform.codec import encode
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

pytestmark = pytest.mark.browser

V, T = 3, 4


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    given = {"given": "fixed-view+freeze-time"}
    caption = "</script><script>document.body.dataset.broken='yes'</script>"
    for name, provenance in (("reference", {}), ("generated", given)):
        grids = [make_grid(f"grid-{i}", V, T, provenance=provenance, caption=caption) for i in range(3)]
        write_shard(Storage(str(folder / name)), 0, [(grid.key, encode(grid)) for grid in grids])
    out = folder / "page.html"
    run(Config(folders=(str(folder / "reference"), str(folder / "generated")), out=out, baselines=("average",)))
    return out


@pytest.fixture
def viewer(browser: Any, page_path: Path) -> Iterator[Viewer]:
    context = browser.new_context(viewport={"width": 1300, "height": 850})
    opened = Viewer(context, page_path)
    yield opened
    assert opened.complaints == []
    assert opened.requests == [opened.url]
    context.close()


def test_moving_the_pointer_moves_through_views_and_times(viewer: Viewer) -> None:
    before = viewer.pictures()
    viewer.point(".stage canvas", 0.6, 0.5)
    viewer.wait(1, 2)
    after = viewer.pictures()
    assert all(a != b for a, b in zip(before, after, strict=True))
    viewer.point("#plane", 0.9, 0.9)
    viewer.wait(2, 3)


def test_panels_stay_in_step(viewer: Viewer) -> None:
    reference, generated, _ = viewer.pictures()
    assert reference == generated
    for x in (0.3, 0.6, 0.9, 0.1):
        viewer.point(".stage canvas", x, 0.9)
        viewer.wait(2, int(x * T))
        reference, generated, baseline = viewer.pictures()
        assert reference == generated  # the two folders hold the same frames
    viewer.point(".stage canvas", 0.6, 0.9)
    viewer.wait(2, 2)
    assert viewer.pictures()[0] != viewer.pictures()[2]


def test_keys_move_play_and_change_the_grid(viewer: Viewer) -> None:
    keyboard = viewer.page.keyboard
    keyboard.press("ArrowRight")
    viewer.wait(0, 1)
    keyboard.press("ArrowDown")
    viewer.wait(1, 1)
    keyboard.press("End")
    viewer.wait(1, 3)
    keyboard.press("ArrowRight")
    keyboard.press("ArrowUp")
    viewer.wait(0, 3)
    keyboard.press("n")
    viewer.page.wait_for_selector("body[data-grid='grid-1']")
    keyboard.press("p")
    viewer.page.wait_for_selector("body[data-grid='grid-0']")


@pytest.mark.parametrize(
    ("axis", "trail"),
    [
        ("time", ["01", "02", "03", "00", "01"]),  # round and round
        ("view", ["10", "20", "10", "00", "10"]),  # back and forth
        ("diagonal", ["11", "12", "23", "12", "11", "00"]),
    ],
)
def test_playing_runs_along_its_axis(viewer: Viewer, axis: str, trail: list[str]) -> None:
    viewer.page.evaluate(
        """() => {
            window.trail = [];
            const note = () => window.trail.push(document.body.dataset.view + document.body.dataset.time);
            new MutationObserver(note).observe(document.body, { attributeFilter: ["data-time"] });
        }"""
    )
    viewer.page.click(f"[data-play={axis}]")
    deadline_s = time.monotonic() + 10
    while len(seen := viewer.page.evaluate("window.trail")) < len(trail) and time.monotonic() < deadline_s:
        viewer.page.wait_for_timeout(50)
    assert seen[: len(trail)] == trail
    viewer.page.click(f"[data-play={axis}]")
    assert viewer.page.get_attribute(f"[data-play={axis}]", "aria-pressed") == "false"


def test_given_and_generated_frames_are_told_apart(viewer: Viewer) -> None:
    assert viewer.kinds() == ["", "given", "given"]
    viewer.page.keyboard.press("ArrowRight")
    viewer.wait(0, 1)
    assert viewer.kinds() == ["", "given", "given"]
    viewer.page.keyboard.press("ArrowDown")
    viewer.wait(1, 1)
    assert viewer.kinds() == ["", "generated", "generated"]
    assert viewer.page.is_visible("#legend")


def test_search_narrows_the_list_and_opens_what_it_finds(viewer: Viewer) -> None:
    viewer.page.keyboard.press("/")
    viewer.page.keyboard.type("grid-2")
    assert viewer.page.locator("#list li:visible").count() == 1
    assert "1 of 3" in viewer.page.inner_text("#count")
    viewer.page.click("#list li:visible button")
    viewer.page.wait_for_selector("body[data-grid='grid-2']")
    assert viewer.page.inner_text("#name") == "grid-2"


def test_a_hostile_caption_is_only_text(viewer: Viewer) -> None:
    assert viewer.page.evaluate("document.body.dataset.broken") is None
    assert "<script>" in viewer.page.inner_text("#caption")


def test_touch_drags_through_the_grid_on_a_narrow_screen(browser: Any, page_path: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    viewer = Viewer(context, page_path)
    box = viewer.page.locator(".stage canvas").first.bounding_box()
    viewer.page.touchscreen.tap(box["x"] + 0.6 * box["width"], box["y"] + 0.9 * box["height"])
    viewer.wait(2, 2)
    assert viewer.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert viewer.complaints == []
    context.close()
