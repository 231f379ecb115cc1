"""What a hostile file could try if it took over the process that reads it, and what comes of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.datagen.glb import moving_cube

from fourreal.datagen.blender.confinement import MAX_FILE_BYTES
from fourreal.datagen.blender.worker import BlenderWorker

ATTEMPTS = """
import ctypes, encodings.idna, json, os, resource, socket, struct, subprocess, sys
from pathlib import Path
from fourreal.datagen.blender.confinement import confine
port, folder, user = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
if user:
    os.setgroups([]), os.setgid(user), os.setuid(user)
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE, as after a fresh start: /proc/self is its own
confine()
came = {}
def attempt(name, what):
    try:
        came[name] = what() or "done"
    except OSError as error:
        came[name] = type(error).__name__
def native():
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4B8x", port, 127, 0, 0, 1)
    if libc.connect(libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0), address, 16):
        raise OSError(ctypes.get_errno(), "")
attempt("connect", lambda: socket.create_connection(("127.0.0.1", port)))
attempt("look up", lambda: socket.getaddrinfo("example.org", 80))
attempt("listen", lambda: socket.socket().bind(("127.0.0.1", 0)))
attempt("native connect", native)
attempt("program", lambda: subprocess.run(["true"]))
attempt("shell", lambda: os.system("true"))
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("large file", lambda: os.truncate(folder / "large", 2**40))
attempt("small file", lambda: (folder / "small").write_text("x") and "")
came["owner"] = (folder / "small").stat().st_uid == os.getuid() == (user or os.getuid())
came["network"] = os.readlink("/proc/self/ns/net") if sys.platform == "linux" else ""
print(json.dumps(came))
"""


def own_network_allowed() -> bool:
    """Whether this system lets a process have a network namespace of its own."""
    code = f"import ctypes; raise SystemExit(ctypes.CDLL(None).unshare({0x10000000 | 0x40000000}) != 0)"
    return sys.platform == "linux" and subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Listens, and would notice a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.mark.parametrize("user", [0, 65534], ids=["as this user", "as a user without rights"])
def test_a_confined_process_reaches_nobody_and_starts_nothing(server: socket.socket, tmp_path: Path, user: int) -> None:
    if user and os.getuid() != 0:
        user = 0  # we are one already
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:-1]:
        if parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    (tmp_path / "large").touch()
    (tmp_path / "large").chmod(0o666)
    arguments = [str(server.getsockname()[1]), str(tmp_path), str(user)]
    done = subprocess.run([sys.executable, "-c", ATTEMPTS, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    came: dict[str, Any] = json.loads(done.stdout)
    for name in ("connect", "look up", "listen", "program", "shell", "fork"):
        assert came[name] == "PermissionError", name
    assert (came["large file"], came["small file"], came["owner"]) == ("OSError", "done", True)
    if own_network_allowed():
        assert came["native connect"] == "OSError"
        assert came["network"] != os.readlink("/proc/self/ns/net")
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.blender
def test_blenders_child_is_confined_and_knows_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "open-sesame-27")
    with BlenderWorker() as worker:
        worker.load(str(moving_cube(tmp_path / "cube.glb")))
        process = Path(f"/proc/{worker.process_id}")
        assert b"open-sesame-27" not in (process / "environ").read_bytes()
        limits = {line[:25].strip(): line[25:].split()[:2] for line in (process / "limits").read_text().splitlines()}
        assert limits["Max file size"] == [str(MAX_FILE_BYTES)] * 2
        assert limits["Max core file size"] == ["0", "0"]
        if own_network_allowed():
            assert os.readlink(process / "ns/net") != os.readlink("/proc/self/ns/net")


@pytest.mark.blender
@pytest.mark.parametrize("opens", ["blender as a careless user set it", "our session"])
def test_no_script_comes_out_of_a_file(tmp_path: Path, opens: str) -> None:
    code = f"""
import sys, bpy
from fourreal.datagen.blender.inside.session import Session
bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
text = bpy.data.texts.new("start.py")
text.use_module = True
text.write("open({str(tmp_path / "ran")!r}, 'w')")
bpy.ops.wm.save_as_mainfile(filepath={str(tmp_path / "hostile.blend")!r})
bpy.context.preferences.filepaths.use_scripts_auto_execute = True
if {opens == "our session"}:
    Session()
bpy.ops.wm.open_mainfile(filepath={str(tmp_path / "hostile.blend")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "ran").exists() is (opens != "our session")
