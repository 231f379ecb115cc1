"""Pictures of an evaluation in MLflow, as the README shows them: the rows side by side, and the registry.

    python infra/screenshots.py [--store outputs/mlflow] [--out infra/pictures] [--chromium /usr/bin/chromium]

Serves the store on loopback for as long as it takes, opens the newest evaluation or comparison in it in Chromium, and
writes `mlflow-comparison.png` (parallel coordinates over the table's rows) and `mlflow-registry.png`, where a model is
registered. `fourreal evaluate` or `fourreal compare` must have recorded into that store before.
"""

from __future__ import annotations

import argparse
import io
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from fourreal.platform import tracking
from fourreal.platform.errors import UserError

WIDTH, HEIGHT = 1280, 800
MOST_BYTES = 200_000
_PATIENCE_S = 240


@contextmanager
def served(store: Path) -> Iterator[str]:
    """The address of an MLflow server over the store, which ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        tracking.server_command(port, store), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"the MLflow server over {store} does not answer")
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def newest_rows() -> list[str]:
    """Ids of the runs below the newest evaluation or comparison."""
    search = tracking.client().search_runs
    rows = search(experiment_names=["evaluation"], output_format="list", order_by=["attributes.start_time DESC"])
    rows = [run for run in rows if run.data.tags.get("fourreal.job") == "evaluate-row"]
    if not rows:
        raise UserError("the store holds no evaluation: run `fourreal evaluate` or `fourreal compare` first")
    parent = rows[0].data.tags["mlflow.parentRunId"]
    return [run.info.run_id for run in rows if run.data.tags["mlflow.parentRunId"] == parent]


def open_page(page: Page, address: str, waits_for: str) -> None:
    """Go there, wait until `waits_for` is to be seen, and close what MLflow offers beside it."""
    page.goto(address, wait_until="load")
    page.wait_for_selector(waits_for)
    if (close := page.get_by_role("button", name="Close")).count():
        close.first.click()


def choose_all_metrics(page: Page) -> None:
    """The comparison opens with one metric: take the others in, but not how many grids each is over."""
    page.get_by_role("combobox").nth(1).click(force=True)
    for option in page.locator(".du-bois-light-select-item-option").all():
        name = option.inner_text()
        if name != "grids" and not name.endswith(".n") and option.get_attribute("aria-selected") != "true":
            option.click()
    page.keyboard.press("Escape")
    page.locator("h1, h2").first.click()


def shoot(page: Page, path: Path) -> None:
    """A picture of the page in few enough bytes for a README."""
    page.wait_for_timeout(2000)  # plots are drawn in steps, and nothing says which is the last
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (256, 128, 64, 32):
        image.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            break
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> int:
    """Take them; 2 when there is nothing to take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=tracking.DEFAULT_FOLDER)
    parser.add_argument("--out", type=Path, default=Path("infra/pictures"))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        with served(arguments.store) as address, sync_playwright() as playwright:
            os.environ["MLFLOW_TRACKING_URI"] = address
            comparison = tracking.compare_address(newest_rows())
            browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.set_default_timeout(_PATIENCE_S * 1000)
            open_page(page, comparison, ".js-plotly-plot")
            choose_all_metrics(page)
            shoot(page, arguments.out / "mlflow-comparison.png")
            names = [model.name for model in tracking.client().MlflowClient().search_registered_models()]
            if names:
                open_page(page, f"{address}/#/models/{names[0]}/versions/1", "text=model_sha256")
                shoot(page, arguments.out / "mlflow-registry.png")
            browser.close()
    except UserError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
