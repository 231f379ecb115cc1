"""What renders: the choice, what is remembered of it, and what is said when it is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.datagen.glb import moving_cube
from tests.datagen.test_scene import measurement_of

from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.devices import GPU_KINDS, Wanted, choose_device
from fourreal.datagen.blender.failure import WorkerFailure
from fourreal.datagen.blender.framing import build_scene
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.scene import Actor
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.render import Config, data_job, run
from fourreal.datagen.render_device import device_of
from fourreal.platform.datajob import Item
from fourreal.platform.datajob.plan import make_plan, write_plan
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

H200 = {"cuda": ["NVIDIA H200"], "optix": ["NVIDIA H200"]}
RADEON = {"hip": ["AMD Instinct"]}


@pytest.mark.parametrize(
    ("wanted", "gpus", "planned", "chosen"),
    [
        ("auto", {}, None, "cpu"),
        ("auto", H200, None, "optix"),
        ("auto", RADEON, None, "hip"),
        ("auto", H200, "cpu", "cpu"),
        ("auto", H200, "cuda", "cuda"),
        ("auto", RADEON, "optix", "hip"),  # the plan then refuses to go on
        ("auto", {}, "optix", "cpu"),
        ("auto", {"optix": []}, None, "cpu"),
        ("cpu", H200, None, "cpu"),
        ("cpu", H200, "optix", "cpu"),
        ("gpu", H200, None, "optix"),
        ("gpu", H200, "cuda", "cuda"),
        ("gpu", H200, "cpu", "optix"),
    ],
)
def test_the_best_gpu_is_taken_and_what_was_begun_goes_on(
    wanted: Wanted, gpus: dict[str, list[str]], planned: str | None, chosen: str
) -> None:
    assert choose_device(wanted, gpus, planned) == chosen


def test_a_gpu_that_is_not_there_is_said_in_one_sentence() -> None:
    with pytest.raises(UserError, match="--device gpu: Blender finds no GPU"):
        choose_device("gpu", {}, None)


def test_the_plan_says_what_an_output_was_begun_with(tmp_path: Path) -> None:
    asset = moving_cube(tmp_path / "cube.glb")
    config = Config(assets=str(asset), out=str(tmp_path / "out"), device="cpu")
    job = data_job(config)
    assert (job.settings["device"], job.gpus_per_worker) == ("cpu", 0)
    out = Storage(config.out)
    write_plan(out, make_plan("render", job.settings, [Item("a", "a")], config.items_per_shard))
    assert device_of("auto", out) == "cpu"
    write_plan(out, make_plan("render", {**job.settings, "device": "optix"}, [Item("a", "a")], config.items_per_shard))
    with pytest.raises(UserError, match="planned with device = 'optix', now it is 'cpu'"):
        run(config)


@pytest.mark.blender
def test_blender_lists_its_gpus_and_refuses_one_that_is_not_there(tmp_path: Path) -> None:
    path = str(moving_cube(tmp_path / "cube.glb"))
    measurement, rng = measurement_of(0, times=1), np.random.default_rng(0)
    size = {"views": 1, "height": 16, "width": 16, "samples": 1}
    looks = {"camera": CameraSettings(), "light": LightSettings()}
    with BlenderWorker() as worker:
        gpus = worker.gpus()
        assert set(gpus) <= set(GPU_KINDS)
        assert all(gpus.values())
        for absent in ({*GPU_KINDS} - {*gpus}) | {"abacus"}:
            scene = build_scene([Actor(path, "slide")], (0.0,), measurement, rng=rng, device=absent, **size, **looks)
            with pytest.raises(WorkerFailure, match="no_device"):
                worker.render(scene)
    if not gpus:
        with pytest.raises(UserError, match="finds no GPU"):
            run(Config(assets=path, out=str(tmp_path / "out"), device="gpu"))


@pytest.mark.gpu
@pytest.mark.blender
def test_a_gpu_renders_what_the_cpu_does(tmp_path: Path) -> None:
    path = str(moving_cube(tmp_path / "cube.glb"))
    size = {"views": 2, "height": 48, "width": 64, "samples": 64}
    looks = {"camera": CameraSettings(), "light": LightSettings()}
    with BlenderWorker() as worker:
        if not (gpus := worker.gpus()):
            pytest.skip("Blender finds no GPU here")
        measurement = worker.measure(path, worker.load(path).clip, (0.0, 1.0))
        renders = []
        for device in ("cpu", *gpus):
            rng = np.random.default_rng(0)
            scene = build_scene(
                [Actor(path, "slide")], (0.0, 1.0), measurement, rng=rng, device=device, **size, **looks
            )
            renders.append(worker.render(scene))
        for other in renders[1:]:
            assert np.abs(other.mask.astype(int) - renders[0].mask).mean() < 1.0
            difference = other.colour.astype(float) - renders[0].colour.astype(float)
            assert np.abs(difference).mean() < 0.01
            assert np.isclose(other.depth, renders[0].depth, atol=0.05).mean() > 0.97
