"""The Blender child under its limits, with real files and real faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tests.datagen.glb import CUBE, Glb, moving_cube

from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.failure import WorkerFailure
from fourreal.datagen.blender.framing import build_scene
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.scene import Actor, Scene
from fourreal.datagen.blender.worker import BlenderWorker, Limits

pytestmark = pytest.mark.blender


@pytest.fixture(scope="module")
def worker() -> Iterator[BlenderWorker]:
    with BlenderWorker(Limits(timeout_s=60)) as shared:
        yield shared


@pytest.fixture
def cube(tmp_path: Path) -> str:
    return str(moving_cube(tmp_path / "cube.glb"))


def slow_scene(worker: BlenderWorker, asset: str) -> Scene:
    """One that would take minutes."""
    worker.load(asset)
    measurement = worker.measure(asset, "slide", (0.0, 1.0))
    rng = np.random.default_rng(0)
    size = {"views": 2, "height": 720, "width": 1280, "samples": 512}
    looks = {"camera": CameraSettings(), "light": LightSettings()}
    return build_scene([Actor(asset, "slide")], (0.0, 1.0), measurement, **size, rng=rng, **looks)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def is_gone(process_id: int) -> bool:
    return not psutil.pid_exists(process_id) or psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE


def test_a_child_that_hangs_is_killed_and_the_next_asset_works(cube: str) -> None:
    with BlenderWorker(Limits(timeout_s=60)) as worker:
        worker.load(cube)
        child = worker.process_id
        assert child is not None
        worker.limits = Limits(timeout_s=1.0)
        os.kill(child, signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(WorkerFailure) as caught:
            worker.load(cube)
        assert caught.value.reason == "timeout"
        assert time.monotonic() - start < 30
        assert is_gone(child)
        worker.limits = Limits(timeout_s=60)
        assert worker.load(cube).clip == "slide"
        assert worker.process_id != child


def test_a_child_starts_no_thread_for_the_other_cores_and_may_use_them(cube: str) -> None:
    """Threads of Blender's that only wait for work take two thirds of a core."""
    every = os.sched_getaffinity(0)
    threads = []
    for cores in ({min(every)}, every):
        for thread in os.listdir("/proc/self/task"):  # a child is started by one of them
            os.sched_setaffinity(int(thread), cores)
        with BlenderWorker() as worker:
            worker.load(cube)
            assert worker.process_id is not None
            assert os.sched_getaffinity(worker.process_id) == cores
            threads.append(psutil.Process(worker.process_id).num_threads())
    assert threads[0] == threads[1]


def test_a_render_that_takes_too_long_is_killed(cube: str) -> None:
    with BlenderWorker(Limits(timeout_s=60)) as worker:
        scene = slow_scene(worker, cube)
        worker.limits = Limits(timeout_s=1.0)
        with pytest.raises(WorkerFailure) as caught:
            worker.render(scene)
        assert (caught.value.stage, caught.value.reason) == ("render", "timeout")


def test_a_child_killed_in_the_middle_of_a_render_is_a_crash_and_the_next_asset_works(cube: str) -> None:
    with BlenderWorker(Limits(timeout_s=60)) as worker:
        scene = slow_scene(worker, cube)
        child = worker.process_id
        assert child is not None
        threading.Timer(0.7, os.kill, (child, signal.SIGKILL)).start()
        with pytest.raises(WorkerFailure) as caught:
            worker.render(scene)
        assert (caught.value.stage, caught.value.reason) == ("render", "crash")
        assert "SIGKILL" in caught.value.message
        assert worker.load(cube).clip == "slide"


def test_a_child_that_grows_past_its_memory_is_killed(cube: str) -> None:
    with BlenderWorker(Limits(timeout_s=60)) as worker:
        scene = slow_scene(worker, cube)
        at_rest_bytes = psutil.Process(worker.process_id).memory_info().rss
    with BlenderWorker(Limits(timeout_s=60, memory_bytes=at_rest_bytes + 20 * 2**20)) as worker:
        with pytest.raises(WorkerFailure) as caught:
            worker.render(scene)
        assert caught.value.reason == "memory"
        assert worker.process_id is None
        worker.load(cube)


def test_a_child_is_replaced_after_so_many_assets_or_so_much_memory(cube: str) -> None:
    children = []
    with BlenderWorker(Limits(recycle_assets=2)) as worker:
        for _ in range(4):
            worker.load(cube)
            children.append(worker.process_id)
        assert children[0] == children[1] != children[2] == children[3]
        worker.limits = Limits(recycle_memory_bytes=2**20)
        worker.load(cube)
        assert worker.process_id != children[3]
    assert all(is_gone(child) for child in children if child)


def test_no_child_outlives_a_parent_that_is_killed(cube: str) -> None:
    code = (
        "import sys, time; from fourreal.datagen.blender.worker import BlenderWorker\n"
        f"worker = BlenderWorker(); worker.load({cube!r}); print(worker.process_id, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not is_gone(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: is_gone(child))


def test_a_child_outlives_the_thread_that_first_asked(cube: str) -> None:
    with BlenderWorker() as worker:
        thread = threading.Thread(target=worker.load, args=(cube,))
        thread.start()
        thread.join()
        child = worker.process_id
        time.sleep(0.2)
        assert worker.measure(cube, "slide", (0.0,)).points.shape[2] == 3
        assert worker.process_id == child


def test_the_parent_never_imports_bpy() -> None:
    code = (
        "import sys, fourreal.datagen.blender.worker, fourreal.datagen.blender.framing, fourreal.datagen.render\n"
        "assert not {'bpy', 'mathutils', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def broken(path: Path, how: str) -> Path:
    """A file that is wrong in one way."""
    glb = Glb()
    if how == "no meshes":
        glb.animate("a", glb.add("nodes", {}), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    elif how == "no animation":
        glb.node()
    elif how == "not a number":
        vertices = CUBE.copy()
        vertices[3] = np.nan
        glb.animate("a", glb.node(vertices), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    elif how == "one point":
        glb.animate("a", glb.node(0.0 * CUBE), [0.0, 1.0], [[0, 0, 0], [0, 0, 0]])
    elif how == "bad image":
        view = glb.add("bufferViews", {"buffer": 0, "byteOffset": len(glb.binary), "byteLength": 16})
        glb.binary += b"\x89PNG\r\n\x1a\n but no."[:16].ljust(16)
        image = glb.add("images", {"bufferView": view, "mimeType": "image/png", "name": "paint"})
        texture = {"index": glb.add("textures", {"source": image})}
        material = glb.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": texture}})
        glb.animate("a", glb.node(material=material), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    return glb.write(path)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("no meshes", "no_meshes"),
        ("no animation", "no_animation"),
        ("not a number", "nan_geometry"),
        ("one point", "nan_geometry"),
        ("bad image", "bad_image"),
    ],
)
def test_a_file_that_imports_but_is_wrong_is_refused(
    worker: BlenderWorker, tmp_path: Path, how: str, reason: str
) -> None:
    path = str(broken(tmp_path / "broken.glb", how))
    with pytest.raises(WorkerFailure) as caught:
        worker.measure(path, worker.load(path).clip, (0.0, 1.0))
    assert caught.value.reason == reason
    assert caught.value.message


@pytest.mark.parametrize("keep", [0, 12, 300, -100])
def test_a_truncated_file_is_refused_with_what_the_child_said(worker: BlenderWorker, tmp_path: Path, keep: int) -> None:
    data = moving_cube(tmp_path / "cube.glb").read_bytes()
    path = tmp_path / "truncated.glb"
    path.write_bytes(data[:keep])
    with pytest.raises(WorkerFailure) as caught:
        worker.load(str(path))
    assert (caught.value.stage, caught.value.reason) == ("load", "truncated")
    assert caught.value.stderr_tail
    child = worker.process_id
    assert worker.load(str(tmp_path / "cube.glb")).clip == "slide"
    assert worker.process_id == child


def test_the_tail_is_of_the_request_that_failed(worker: BlenderWorker, tmp_path: Path) -> None:
    (tmp_path / "empty.glb").write_bytes(b"")
    tails = []
    for _ in range(2):
        with pytest.raises(WorkerFailure) as caught:
            worker.load(str(tmp_path / "empty.glb"))
        tails.append(caught.value.stderr_tail)
    assert len(tails[1]) < 1.5 * len(tails[0])


def travel(worker: BlenderWorker, asset: str, clip: str) -> Any:
    """How far the hull's points move over the first second, along x, y and z (up)."""
    hull = worker.measure(asset, clip, (0.0, 1.0)).hull
    return np.abs(hull[1] - hull[0]).max(axis=0).round(3)


def test_clips_of_one_target_are_alternatives(worker: BlenderWorker, tmp_path: Path) -> None:
    glb = Glb()
    node = glb.node()
    glb.animate("hop", node, [0.0, 1.0], [[0, 0, 0], [0, 1, 0]])
    glb.animate("run", node, [0.0, 2.0], [[0, 0, 0], [2, 0, 0]])
    path = str(glb.write(tmp_path / "two.glb"))
    loaded = worker.load(path)
    assert [(c.name, round(c.duration_s, 3)) for c in loaded.clips] == [("run", 2.0), ("hop", 1.0)]
    assert loaded.clip == "run"
    assert travel(worker, path, "run").tolist() == [1, 0, 0]
    assert travel(worker, path, "hop").tolist() == [0, 0, 1]  # y is up in glTF
    with pytest.raises(WorkerFailure, match="unknown_clip"):
        worker.load(path, "swim")


def test_clips_of_different_targets_play_together(worker: BlenderWorker, tmp_path: Path) -> None:
    glb = Glb()
    glb.animate("left", glb.node(), [0.0, 1.0], [[0, 0, 0], [-4, 0, 0]])
    glb.animate("right", glb.node(), [0.0, 2.0], [[0, 0, 0], [8, 0, 0]])
    path = str(glb.write(tmp_path / "apart.glb"))
    loaded = worker.load(path)
    hull = worker.measure(path, loaded.clip, (0.0, 1.0)).hull
    assert np.allclose([hull[1, :, 0].min(), hull[1, :, 0].max()], [-5, 5], atol=1e-3)


def test_times_are_seconds_on_the_clips_own_line(worker: BlenderWorker, tmp_path: Path) -> None:
    glb = Glb()
    glb.animate("late", glb.node(), [0.5, 1.5], [[0, 0, 0], [10, 0, 0]])
    path = str(glb.write(tmp_path / "late.glb"))
    (clip,) = worker.load(path).clips
    assert (clip.start_s, clip.duration_s) == (pytest.approx(0.5), pytest.approx(1.0))
    hull = worker.measure(path, "late", (0.5, 0.77, 1.5)).hull
    assert np.allclose(hull[:, :, 0].mean(axis=1) - hull[0, :, 0].mean(), [0.0, 2.7, 10.0], atol=1e-3)
