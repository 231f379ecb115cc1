"""How soon the page opens and whether it keeps up with a hand; run through evaluate.py. Needs Chromium."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from reporting import Benchmark

from fourreal.evaluation.view_page import Entry, build_page, panel_of_frames
from fourreal.platform.grid import GridMeta

GRIDS, VIEWS, TIMES, HEIGHT, WIDTH = 64, 8, 8, 96, 160
_DIFFERENT = 8
_SCRUB_FRAMES = 240
_SCRUB = """
(frames) => new Promise((resolve) => {
  const canvas = document.querySelector(".stage canvas");
  const box = canvas.getBoundingClientRect();
  let [n, shown, wanted] = [0, 0, null];
  const start = performance.now();
  const next = () => {
    const { view, time } = document.body.dataset;
    if (wanted === `${view} ${time}`) shown += 1;
    if (n === frames) return resolve((1000 * shown) / (performance.now() - start));
    const [v, t] = [Math.floor(n / 5) % VIEWS, (3 * n + 1) % TIMES]; // another frame each time, far apart
    wanted = `${v} ${t}`;
    const clientX = box.left + ((t + 0.5) / TIMES) * box.width;
    const clientY = box.top + ((v + 0.5) / VIEWS) * box.height;
    canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
    n += 1;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})
""".replace("VIEWS", str(VIEWS)).replace("TIMES", str(TIMES))


def page_of_many(path: Path) -> None:
    """A page of 64 grids of smooth moving colour with some noise, as large in JPEG as rendered ones."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    panels = []
    for _ in range(_DIFFERENT):
        phase = np.add.outer(np.arange(VIEWS), 0.5 * np.arange(TIMES))[..., None, None, None] + rng.uniform(0, 6, 3)
        waves = 127 + 90 * np.sin(0.13 * x[..., None] + 0.09 * y[..., None] + phase)
        noisy = waves + rng.normal(0, 6, waves.shape)
        panels.append(panel_of_frames("frames", noisy.clip(0, 255).astype(np.uint8)))
    entries = [Entry(GridMeta(f"grid-{i:02d}", fps=8.0), [panels[i % _DIFFERENT]]) for i in range(GRIDS)]
    path.write_text(build_page(entries), encoding="utf-8")


def opening_s(browser: Any, path: Path) -> float:
    """From asking for the page to its first frame."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    start = time.perf_counter()
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("body[data-view]", state="attached")
    took_s = time.perf_counter() - start
    page.close()
    return took_s


def scrubbing_fps(browser: Any, path: Path) -> float:
    """Frames a second that stand where the pointer is one animation frame after it got there; 60 is the screen's."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-view]", state="attached")
    page.wait_for_timeout(1500)  # a person looks first; meanwhile the grid is decoded
    fps = float(page.evaluate(_SCRUB, _SCRUB_FRAMES))
    page.close()
    return fps


def measure(benchmark: Benchmark) -> None:
    """page_open_s and scrub_fps."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "the page is measured in Chromium, which is not installed"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "page.html"
        page_of_many(path)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        opening_s(browser, path)
        benchmark.add("page_open_s", statistics.median(opening_s(browser, path) for _ in range(3)))
        benchmark.add("scrub_fps", scrubbing_fps(browser, path))
        browser.close()
