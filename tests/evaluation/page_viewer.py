"""The page of `fourreal view`, driven in a browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class Viewer:
    """The page as a person sees it, with everything that it loads or complains of."""

    def __init__(self, context: Any, path: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.url = path.as_uri()
        self.page.goto(self.url)
        self.wait(0, 0)

    def _hear(self, message: Any) -> None:
        # What the software renderer says of reading its pixels for a screenshot is no complaint of the page.
        if "GL Driver Message" not in message.text:
            self.complaints.append(message.text)

    def wait(self, view: int, at: int) -> None:
        self.page.wait_for_selector(f"body[data-view='{view}'][data-time='{at}']", timeout=120_000)

    def until(self, condition: str) -> None:
        """Wait for a condition; asked from here, since the page's policy lets nobody evaluate text in it."""
        deadline_s = time.monotonic() + 120
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline_s, f"it never came to pass that {condition}"
            self.page.wait_for_timeout(20)

    def pictures(self) -> list[str]:
        script = "[...document.querySelectorAll('.stage canvas')].map((c) => c.toDataURL())"
        return list(self.page.evaluate(script))

    def kinds(self) -> list[str]:
        return list(self.page.evaluate("[...document.querySelectorAll('.kind')].map((k) => k.textContent)"))

    def point(self, selector: str, x: float, y: float) -> None:
        box = self.page.locator(selector).first.bounding_box()
        self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
