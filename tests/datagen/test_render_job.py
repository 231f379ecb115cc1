"""`fourreal render`: assets in, grids and reasons out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import pytest
from tests.datagen.glb import Glb, moving_cube
from tests.datagen.hostile_glb import pack, sound

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.filters import Filters
from fourreal.datagen.render import Config, Renderer, run
from fourreal.datagen.scratch import is_abandoned
from fourreal.platform.codec import encode
from fourreal.platform.datajob import Item, ItemFailure, list_quarantine
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid, make_key
from fourreal.platform.shards import read_grids
from fourreal.platform.storage import Storage

T = TypeVar("T")
SMALL = {"views": 3, "times": 3, "height": 48, "width": 80, "samples": 1, "fps": 4.0, "device": "cpu"}


def make(config: Config, items: list[Item]) -> list[Grid | ItemFailure]:
    """What a worker makes of the items, without Ray."""
    renderer = Renderer(config)
    made: list[Grid | ItemFailure] = []
    try:
        for item in items:
            try:
                made.append(renderer.process(item))
            except ItemFailure as failure:
                made.append(failure)
    finally:
        renderer.close()
    return made


def config_of(tmp_path: Path, assets: str, **changes: object) -> Config:
    return Config(assets=assets, out=str(tmp_path / "out"), **{**SMALL, **changes})  # type: ignore[arg-type]


@pytest.mark.blender
def test_real_assets_become_grids_and_a_static_one_is_refused(shared_data: Path, tmp_path: Path) -> None:
    config = config_of(tmp_path, str(shared_data / "glb"), depth=True)
    items = list(list_assets(open_assets(config.assets, config.seed), 1))
    made = dict(zip((item.key.rpartition("-")[0] for item in items), make(config, items), strict=True))
    refused = made.pop("alien_static")
    assert isinstance(refused, ItemFailure)
    assert (refused.stage, refused.reason) == ("load", "no_animation")
    names = {"AnimatedMorphCube", "BoxAnimated", "CesiumMan", "CesiumMilkTruck", "RiggedSimple"}
    assert set(made) == names
    for grid in made.values():
        assert isinstance(grid, Grid)
        assert grid.frames.shape == (3, 3, 48, 80, 3)
        assert grid.mask is not None
        assert grid.depth is not None
        assert grid.world_to_camera is not None
        assert grid.meta.motion["p95_share"] > config.filters.min_motion
        assert len(grid.meta.source_sha256) == 64
        assert grid.meta.fps == pytest.approx(4.0)
        coverage = (grid.mask > 127).mean(axis=(2, 3))
        assert 0.01 < coverage.min() <= coverage.max() < 0.7
        for axis in (0, 1):
            step = np.abs(np.diff(grid.frames.astype(np.int16), axis=axis))
            assert (step.max(axis=-1) > 20).mean() > 0.001


@pytest.mark.blender
def test_the_same_item_gives_the_same_bytes_whatever_came_before(tmp_path: Path) -> None:
    config = config_of(tmp_path, "procedural:3", depth=True, normals=True, flow=True)
    items = list(list_assets(open_assets(config.assets, config.seed), 1))
    forwards = make(config, items)
    (tmp_path / "out" / "assets" / f"{items[0].spec['asset']}.glb").unlink()
    backwards = make(config, items[::-1])[::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert isinstance(a, Grid)
        assert isinstance(b, Grid)
        assert encode(a) == encode(b)
        assert {"depth.pack", "normals.pack", "flow.pack"} <= set(encode(a))
        assert a.meta.licence == "CC0-1.0"
    keys = {grid.key for grid in forwards if isinstance(grid, Grid)}
    assert keys == {item.key for item in items}


@pytest.mark.blender
def test_filters_and_limits_end_in_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    folder.mkdir()
    moving_cube(folder / "moving.glb")
    (folder / "truncated.glb").write_bytes((folder / "moving.glb").read_bytes()[:500])
    still = Glb()
    still.animate("a", still.node(), [0.0, 1.0], [[0, 0, 0], [1e-4, 0, 0]])
    still.write(folder / "still.glb")
    glass = Glb()
    pbr = {"baseColorFactor": [1, 1, 1, 0]}
    clear = glass.add("materials", {"alphaMode": "BLEND", "pbrMetallicRoughness": pbr})
    glass.animate("a", glass.node(material=clear), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    glass.write(folder / "glass.glb")
    config = config_of(tmp_path, str(folder))
    items = list(list_assets(open_assets(config.assets, 0), 1))
    made = dict(zip((item.key.rpartition("-")[0] for item in items), make(config, items), strict=True))
    assert isinstance(made.pop("moving"), Grid)
    reasons = {name: failure.reason for name, failure in made.items() if isinstance(failure, ItemFailure)}
    assert reasons == {"truncated": "truncated", "still": "static", "glass": "blank"}
    (slow,) = make(config_of(tmp_path, str(folder), samples=20000, height=720, width=1280, timeout_s=2), items[1:2])
    assert isinstance(slow, ItemFailure)
    assert (slow.reason, slow.retryable) == ("timeout", True)


@pytest.mark.blender
def test_grids_of_one_asset_differ_in_cameras(tmp_path: Path) -> None:
    path = moving_cube(tmp_path / "cube.glb")
    config = config_of(tmp_path, str(path), grids_per_asset=2, mask=False)
    first, second = make(config, list(list_assets(open_assets(config.assets, 0), 2)))
    assert isinstance(first, Grid)
    assert isinstance(second, Grid)
    assert first.world_to_camera is not None
    assert second.world_to_camera is not None
    assert not np.allclose(first.world_to_camera, second.world_to_camera)
    assert first.mask is None


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"views": 0}, "--views must be at least 1"),
        ({"height": 4}, "--height and --width must be at least 8"),
        ({"timeout_s": 0.0}, "--timeout-s must be positive"),
        ({"fps": float("nan")}, "--fps must be positive"),
        ({"seed": -1}, "--seed must be 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict[str, float], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        config_of(tmp_path, "procedural:1", **setting)


def _blenders(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The Blender children of a job's workers."""
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "fourreal.datagen.blender.inside" in process.cmdline():
                found.append(process)
    return found


def _is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("shard-*"))}


def abandoned() -> set[Path]:
    """Scratch folders whose owner was killed."""
    found = set()
    for folder in Path(tempfile.gettempdir()).glob("fourreal-scratch-*"):
        with contextlib.suppress(OSError):
            found |= {folder} if is_abandoned(folder) else set()
    return found


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.blender
def test_assets_in_an_object_store_with_hostile_ones_among_them(tmp_path: Path, s3_bucket: str) -> None:
    """Those end in quarantine, each with its reason, and the others are made as if they were alone."""
    store = Storage(f"{s3_bucket}/assets")
    glb = sound()
    store.write("good/one.glb", pack(glb.document, glb.binary))
    outer = glb.document | {"buffers": [{"byteLength": len(glb.binary), "uri": "parts/its%20data.bin"}]}
    store.write("good/two.gltf", json.dumps(outer).encode())
    store.write("good/parts/its data.bin", glb.binary)
    hostile = {
        "truncated": pack(glb.document, glb.binary)[:400],
        "bad_json": pack(b"[1, 2]", b""),
        "bad_accessor": pack(glb.document, glb.binary[:50]),
        "cyclic_nodes": pack(glb.document | {"nodes": [{"mesh": 0, "children": [0]}]}, glb.binary),
        "missing_file": json.dumps(outer | {"buffers": [{"byteLength": 9, "uri": "nowhere.bin"}]}).encode(),
        "external_uri": json.dumps(outer | {"buffers": [{"byteLength": 9, "uri": "../good/one.glb"}]}).encode(),
    }
    for reason, data in hostile.items():
        store.write(f"bad/{reason}.{'gltf' if data[:1] == b'{' else 'glb'}", data)
    config = config_of(tmp_path, store.uri, workers=1, items_per_shard=2, filters=Filters(min_colour_spread=0.0))
    summary = run(config)
    assert (summary.grids, dict(summary.quarantined)) == (2, dict.fromkeys(hostile, 1))
    for record in list_quarantine(Storage(config.out)):
        assert record.key.startswith(make_key(record.reason)), record
    one, two = sorted(read_grids(Storage(config.out)), key=lambda grid: grid.key)
    assert one.meta.source_uri == f"{store.uri}/good/one.glb"
    assert one.meta.source_sha256 == hashlib.sha256(store.read("good/one.glb")).hexdigest()
    alone = config_of(tmp_path / "alone", f"{store.uri}/good", filters=config.filters)
    made = make(alone, list(list_assets(open_assets(alone.assets, alone.seed), 1)))
    members = {grid.key: encode(grid) for grid in made if isinstance(grid, Grid)}
    assert {grid.key: grid.members for grid in (one, two)} == members


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.blender
@pytest.mark.timeout(900)
def test_whatever_is_killed_a_rerun_gives_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    settings = {**SMALL, "samples": 16, "items_per_shard": 2, "workers": 2}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "fourreal.datagen.render", "--assets=procedural:16", *flags]
    subprocess.run([*command, f"--out={tmp_path / 'calm'}"], check=True, capture_output=True)

    out = tmp_path / "stormy"
    with (tmp_path / "log.txt").open("w") as log:
        driver = subprocess.Popen([*command, f"--out={out}"], stdout=log, stderr=log)
    try:
        blender = _wait_for(driver, lambda: _blenders(driver))[0]
        blender.kill()  # its item is tried again
        _wait_for(driver, lambda: list(out.glob("shard-*.json")))
        survivors = _wait_for(driver, lambda: found if len(found := _blenders(driver)) == 2 else [])
        survivors[1].suspend()  # so that the job cannot end before the driver is killed, on however fast a machine
        workers = {b.ppid() for b in survivors}
        survivors[0].parent().kill()  # a Ray worker: its Blender dies with it, and Ray starts another
        _wait_for(driver, lambda: [1] if _is_gone(survivors[0]) else [])
        _wait_for(driver, lambda: [b for b in _blenders(driver) if b.ppid() not in workers])
    finally:
        below = psutil.Process(driver.pid).children(recursive=True)
        blenders = _blenders(driver)
        driver.kill()
        driver.wait()
        deadline = time.monotonic() + 120
        while not (all_gone := all(map(_is_gone, blenders))) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in below:  # what Ray itself leaves behind
            with contextlib.suppress(psutil.Error):
                process.kill()
    assert all_gone, "a Blender outlived the driver"
    assert len(list(out.glob("shard-*.json"))) < 8, "the driver was killed too late to show anything"
    left = abandoned()

    done = subprocess.run([*command, f"--out={out}"], check=True, capture_output=True, text=True)
    assert "16 (" in done.stdout
    assert _shards(out) == _shards(tmp_path / "calm")
    assert not list_quarantine(Storage(str(out)))
    assert len(list(read_grids(Storage(str(out))))) == 16
    assert not left & abandoned(), "temporary files of the killed are still there"


def _wait_for(driver: subprocess.Popen[bytes], condition: Callable[[], list[T]], timeout_s: float = 240.0) -> list[T]:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert driver.poll() is None, "the job ended before"
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return found


def test_an_output_of_other_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.glb or \.gltf"):
        run(Config(assets=str(tmp_path), out=str(tmp_path / "out"), device="cpu"))
