"""Makes pictures/page.png and pictures/splats.png: a procedural grid on the page, its frames and its splats.

    python infra/page_picture.py

Uses the commands as a reader would: render, reconstruct, view; and Chromium for the picture. About two minutes.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).parent / "pictures"
_COLOURS = 128
"""Of a picture's palette: it is to weigh less than 300 KB."""


def main() -> None:
    """Make the picture."""
    with tempfile.TemporaryDirectory() as folder:
        page = _make_page(Path(folder))
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        with sync_playwright() as driver:
            arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
            browser = driver.chromium.launch(executable_path=chromium, args=arguments)
            viewer = browser.new_page(viewport={"width": 1240, "height": 880})
            viewer.goto(page.as_uri())
            _frames(viewer)
            _save(viewer, "page.png")
            _splats(viewer)
            _save(viewer, "splats.png")
            browser.close()


def _save(viewer: Page, name: str) -> None:
    viewer.wait_for_timeout(1000)
    path = PICTURES / name
    Image.open(io.BytesIO(viewer.screenshot())).convert("RGB").quantize(_COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} KB")


def _make_page(folder: Path) -> Path:
    def fourreal(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", *arguments], check=True)

    grids, scenes, page = (str(folder / name) for name in ("rendered", "reconstructed", "page.html"))
    fourreal("fourreal.datagen.render", "--assets", "procedural:1", "--out", grids, "--workers", "1")
    fourreal("fourreal.evaluation.reconstruct", "--grids", grids, "--out", scenes, "--workers", "1")
    fourreal("fourreal.evaluation.view", grids, scenes, "--out", page)
    return Path(page)


def _frames(viewer: Page) -> None:
    """An epipolar line in a held-out view, and a drawn path."""
    viewer.wait_for_selector("body[data-view='0']")
    viewer.keyboard.press("w")
    plane = viewer.locator("#plane").bounding_box()
    assert plane is not None
    for number, (x, y) in enumerate([(0.05, 0.05), (0.3, 0.4), (0.9, 0.4), (0.6, 0.8)]):
        viewer.mouse.move(plane["x"] + x * plane["width"], plane["y"] + y * plane["height"], steps=8)
        if not number:
            viewer.mouse.down()
    viewer.mouse.up()
    viewer.keyboard.press("g")
    viewer.keyboard.press("Home")
    viewer.keyboard.press("e")
    canvas = viewer.locator(".stage canvas").first.bounding_box()
    assert canvas is not None
    viewer.mouse.click(canvas["x"] + 0.5 * canvas["width"], canvas["y"] + 0.45 * canvas["height"])
    for _ in range(3):
        viewer.keyboard.press("ArrowUp")
    viewer.mouse.move(0, 0)


def _splats(viewer: Page) -> None:
    """The scene from where no camera stood."""
    viewer.keyboard.press("e")
    viewer.keyboard.press("s")
    viewer.wait_for_selector("#splats[data-drawn]")
    box = viewer.locator("#splats").bounding_box()
    assert box is not None
    viewer.mouse.move(box["x"] + 200, box["y"] + 200)
    viewer.mouse.down()
    viewer.mouse.move(box["x"] + 250, box["y"] + 260, steps=4)
    viewer.mouse.up()


if __name__ == "__main__":
    main()
