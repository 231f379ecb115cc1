"""The processes of a run: all that a command started, even when whoever started them is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil

_LOOK_EVERY_S = 0.5
_KINDS: list[tuple[str, Callable[[list[str]], bool]]] = [
    ("blender", lambda line: "fourreal.datagen.blender.inside" in line),
    ("raylet", lambda line: line[0].endswith("/raylet")),
    ("gcs", lambda line: line[0].endswith("/gcs_server")),
    ("worker", lambda line: line[0].startswith("ray::")),
]


def kind_of(process: psutil.Process, driver: int) -> str | None:
    """What a process is to the run; None when it is gone. `driver` is the process of the command itself."""
    try:
        line = process.cmdline()
        if process.status() == psutil.STATUS_ZOMBIE or not line:
            return None
    except psutil.Error:
        return None
    if process.pid == driver:
        return "driver"
    return next((kind for kind, fits in _KINDS if fits(line)), "helper")


class Family:
    """Keeps a record of a process's descendants, from a thread, for as long as the block lasts."""

    def __init__(self, root: psutil.Process) -> None:
        self.root = root
        self._known = {root}  # psutil tells a process from a later one of the same number
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Family:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def alive(self) -> list[psutil.Process]:
        """Those that run, zombies not counted."""
        with self._lock:
            self._known = {process for process in self._known if process.is_running()}
            numbers = {process.pid for process in self._known}
            children: dict[int, list[psutil.Process]] = {}
            for process in psutil.process_iter(["ppid"]):
                children.setdefault(process.info["ppid"], []).append(process)
            new = numbers
            while new:
                born = [child for number in new for child in children.get(number, ()) if child.pid not in numbers]
                self._known.update(born)
                new = {child.pid for child in born}
                numbers |= new
            return [process for process in self._known if kind_of(process, 0) is not None]

    def wait_until_gone(self, timeout_s: float) -> list[psutil.Process]:
        """Those that are still there after this time."""
        deadline = time.monotonic() + timeout_s
        while (alive := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return alive

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            self.alive()
