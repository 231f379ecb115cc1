"""A hundred and more hostile files: each is refused with the right reason or renders, and nothing else is touched."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.datagen.glb import moving_cube
from tests.datagen.hostile_glb import Hostile, hostile_files, pack, sound

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.gltf_checks import check_gltf
from fourreal.datagen.gltf_clips import clips_of
from fourreal.datagen.gltf_file import BadGltf, attribution_of, licence_of
from fourreal.datagen.render import Renderer
from fourreal.datagen.render_config import Config
from fourreal.platform.codec import encode
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.grid import Grid


class Watched:
    """A pipe, and whether anybody has opened it for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_read = threading.Event()
        os.mkfifo(path)
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        descriptor = os.open(self.path, os.O_WRONLY)  # returns when a reader opens the pipe
        self.was_read.set()
        os.close(descriptor)

    def close(self) -> None:
        if not self.was_read.is_set():
            os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))
        self._thread.join(5)


@dataclass
class Trap:
    """Hostile files, and what would notice that one of them got through."""

    files: list[Hostile]
    requests: list[str]
    watched: tuple[Watched, ...]

    def assert_untouched(self) -> None:
        assert self.requests == []
        assert not any(pipe.was_read.is_set() for pipe in self.watched)


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    requests: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - the server's name for it

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = tmp_path_factory.mktemp("hostile")
    (root / "assets").mkdir()
    (root / "elsewhere").mkdir()
    watched = tuple(Watched(root / "elsewhere" / f"secret{ending}") for ending in (".bin", ".png"))
    url = f"http://127.0.0.1:{server.server_port}"
    yield Trap(hostile_files(root / "assets", root / "elsewhere" / "secret", url), requests, watched)
    for pipe in watched:
        pipe.close()
    server.shutdown()
    server.server_close()


def reason_of(path: Path) -> str | None:
    try:
        check_gltf(path)
    except BadGltf as error:
        return error.reason if 0 < len(str(error)) < 1000 else "the message is missing or long"
    return None


def test_every_hostile_file_is_refused_for_what_is_wrong_with_it(trap: Trap) -> None:
    assert len({hostile.path for hostile in trap.files}) == len(trap.files) >= 100
    wrong = {}
    for hostile in trap.files:
        expected = (None,) if hostile.reaches_blender else hostile.reasons
        if (reason := reason_of(hostile.path)) not in expected:
            wrong[hostile.path.name] = (reason, expected)
    assert wrong == {}
    trap.assert_untouched()


def test_the_same_addresses_inside_the_folder_are_read(tmp_path: Path) -> None:
    glb = sound()
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "data.bin").write_bytes(glb.binary)
    for uri in (
        "a folder/data.bin",
        "a%20folder/data.bin",
        "./a%20folder/../a%20folder/data.bin",
        "a folder\\data.bin",
    ):
        document = glb.document | {"buffers": [{"byteLength": len(glb.binary), "uri": uri}]}
        path = tmp_path / "outer.glb"
        path.write_bytes(pack(document, b""))
        assert reason_of(path) is None
    (tmp_path / "a folder" / "data.bin").write_bytes(glb.binary[:50])
    assert reason_of(path) == "bad_accessor"


def test_real_files_pass(shared_data: Path) -> None:
    files = sorted((shared_data / "glb").glob("*.glb"))
    assert files
    assert [reason_of(path) for path in files] == [None] * len(files)


def test_planning_survives_a_folder_of_hostile_files(trap: Trap) -> None:
    folder = trap.files[0].path.parent
    items = list(list_assets(open_assets(str(folder), 0), 1, ("all",)))
    assert len(items) >= 100
    assert not {"folder", "pipe", "loop"} & {item.key.rpartition("-")[0] for item in items}
    trap.assert_untouched()


def test_what_a_file_says_about_itself_cannot_break_a_record() -> None:
    stated = b'{"asset": {"version": "2.0", "extras": {"license": "by \\ud800", "author": "%s"}}}' % (b"a" * 10**6)
    licence = licence_of(stated)
    assert licence.startswith("by ?; aaa")
    assert len(licence.encode()) < 3000
    assert len(attribution_of(stated)["author"]) == 1000
    huge = '{"animations": [{"channels": [], "samplers": [{"input": 0}]}], "accessors": [{"min": [1%s], "max": [1]}]}'
    assert clips_of((huge % ("0" * 400)).encode()) is None


def made_of(renderer: Renderer, path: Path) -> Grid | ItemFailure:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    spec = {"folder": str(path.parent), "name": path.name, "sha256": sha256, "licence": ""}
    try:
        return renderer.process(Item("item", str(path), spec))
    except ItemFailure as failure:
        return failure


@pytest.mark.blender
def test_one_blender_survives_them_all_and_renders_the_same_as_before(trap: Trap, tmp_path: Path) -> None:
    good = moving_cube(tmp_path / "good.glb")
    limits: dict[str, Any] = {"timeout_s": 15, "memory_gib": 3}
    size: dict[str, Any] = {"views": 2, "times": 2, "height": 16, "width": 24, "samples": 1}
    renderer = Renderer(Config(assets="", out=str(tmp_path / "out"), **limits, **size))
    children = set(psutil.Process().children(recursive=True))
    wrong = {}
    try:
        before = made_of(renderer, good)
        for hostile in trap.files:
            made = made_of(renderer, hostile.path)
            # What a filter refuses has been imported and measured: Blender took the file for sound.
            reason = made.reason if isinstance(made, ItemFailure) and made.stage != "filter" else None
            if reason not in hostile.reasons:
                wrong[hostile.path.name] = (made, hostile.reasons)
        after = made_of(renderer, good)
    finally:
        renderer.close()
    assert wrong == {}
    assert isinstance(before, Grid)
    assert isinstance(after, Grid)
    assert encode(before) == encode(after)
    assert set(psutil.Process().children(recursive=True)) <= children
    trap.assert_untouched()
