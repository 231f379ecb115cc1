"""The real job: Ray Train and DeepSpeed on two workers, killed and not."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from configs import SMALL, config_of
from safetensors.torch import load_file
from squares import square_grid

from fourreal.platform import tracking
from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.runtime import ray_session
from fourreal.platform.shards import list_shards, shards_sha256, write_shard
from fourreal.platform.storage import Storage
from fourreal.training.model import GridModel, load_model, read_description
from fourreal.training.model.coupling import synchronization_strength
from fourreal.training.report.sampler import Sampler
from fourreal.training.settings.config import Config
from fourreal.training.settings.groups import SampleSettings
from fourreal.training.stage.settings import stage_settings
from fourreal.training.stage.work_order import WorkOrder
from fourreal.training.train import run

CHECKPOINT_EVERY = 40


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with data in two folders, a Ray session and an MLflow store of their own."""
    folder = tmp_path_factory.mktemp("train")
    for name, count, start in (("data-a", 6, 0), ("data-b", 3, 50)):
        grids = [square_grid(start + i, 3, 3, 16, 24) for i in range(count)]
        write_shard(Storage(str(folder / name)), 0, [(grid.key, encode(grid)) for grid in grids])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with ray_session(2):
            yield folder


def base_config(out: str) -> Config:
    return config_of(
        ("data-a", "data-b"), out, model=SMALL, views=3, times=3, steps=160,
        batch_size=4, checkpoints={"every": CHECKPOINT_EVERY},
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(workplace: Path) -> Path:
    run(base_config("undisturbed"))
    return workplace / "undisturbed"


@pytest.mark.ray
@pytest.mark.slow
def test_base_stage_learns_records_and_exports(undisturbed: Path) -> None:
    result = json.loads((undisturbed / "result.json").read_text())
    assert result["end_loss"] < 0.5 * result["start_loss"]
    model = load_model(undisturbed / "model", "base")
    assert model.config.height == 16
    assert (undisturbed / "samples.png").stat().st_size > 500
    assert "steps: 160" in (undisturbed / "config.yaml").read_text()
    run_id = json.loads((undisturbed / "run.json").read_text())["mlflow_run_id"]
    assert read_description(undisturbed / "model")["training"]["mlflow_run_id"] == run_id
    client = tracking.client().MlflowClient()
    metrics = client.get_run(run_id).data.metrics
    assert {"loss", "gradient_norm", "samples_per_s", "data_wait_fraction", "learning_rate"} <= set(metrics)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert "samples/samples.png" in [file.path for file in client.list_artifacts(run_id, "samples")]
    assert {"mfu", "memory_gb", "update_norm", "loss_at_time/1.00", "loss_of_source/data-b"} <= set(metrics)
    [data_a, data_b] = read_description(undisturbed / "model")["training"]["data"]
    assert (data_a["grids"], data_b["grids"]) == (6, 3)
    exported = Storage(str(undisturbed / "model")).sha256("model.safetensors", "config.json")
    assert client.get_run(run_id).data.tags["model_sha256"] == exported
    digests = [shards_sha256(list_shards(Storage(str(undisturbed.parent / name)))) for name in ("data-a", "data-b")]
    assert client.get_run(run_id).data.tags["fourreal.training_sha256"].split() == digests


@pytest.mark.ray
@pytest.mark.slow
def test_workers_killed_and_stopped_cost_nothing_but_time(undisturbed: Path, workplace: Path) -> None:
    """kill -9, later SIGSTOP: each time on from the last checkpoint, in the same MLflow run, to the same weights."""
    config, out = base_config("killed"), workplace / "killed"
    config = replace(config, restarts=replace(config.restarts, hang_timeout_s=5.0), samples=SampleSettings(every=0))
    killed: list[int] = []

    def torment() -> None:
        for rank, number, checkpoint in ((0, signal.SIGKILL, CHECKPOINT_EVERY), (1, signal.SIGSTOP, 80)):
            place = out / "workers" / f"{rank}.json"
            deadline = time.monotonic() + 240
            while time.monotonic() < deadline:
                note = json.loads(place.read_text()) if place.exists() else {"step": 0, "pid": 0}
                done = (out / "checkpoints" / f"step-{checkpoint:08d}" / "manifest.json").exists()
                if done and checkpoint <= note["step"] < config.steps and note["pid"] not in killed:
                    killed.append(note["pid"])
                    os.kill(note["pid"], number)
                    break
                time.sleep(0.01)

    tormentor = threading.Thread(target=torment)
    tormentor.start()
    run(config)
    tormentor.join()
    assert len(killed) == 2, "the run was over too soon"
    run_id = json.loads((out / "run.json").read_text())["mlflow_run_id"]
    client = tracking.client().MlflowClient()
    restored = [entry.value for entry in client.get_metric_history(run_id, "restored_step")]
    assert len(restored) == 2
    assert CHECKPOINT_EVERY <= restored[0] <= restored[1]
    assert restored[1] >= 80
    assert f"worker 1 (process {killed[1]}" in client.get_run(run_id).data.tags["last_hang"]
    weights = load_file(out / "model" / "model.safetensors")
    for name, tensor in load_file(undisturbed / "model" / "model.safetensors").items():
        assert torch.equal(weights[name], tensor), name


@pytest.mark.ray
@pytest.mark.slow
def test_grid_stage_trains_the_synchronization_alone(undisturbed: Path, workplace: Path) -> None:
    config = config_of(
        (str(workplace / "data-a"),), str(workplace / "grid"), stage="grid", start_from=str(undisturbed), views=3,
        times=3, steps=30, batch_size=2, engine={"zero_stage": 3},
    )  # fmt: skip
    result = run(config)
    model, base = load_model(workplace / "grid" / "model", "grid"), load_model(undisturbed / "model", "base")
    assert isinstance(model, GridModel)
    for name, tensor in base.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor), name
    assert all(parameter.abs().max() > 0 for parameter in model.view_time.syncs.parameters())
    run_id = json.loads((workplace / "grid" / "run.json").read_text())["mlflow_run_id"]
    client = tracking.client().MlflowClient()
    assert client.get_run(run_id).data.metrics["coupling/layer_00"] == pytest.approx(synchronization_strength(model)[0])
    assert [file.path for file in client.list_artifacts(run_id, "coupling")] == ["coupling/coupling.png"]
    assert result.steps == 30
    written_ns = (workplace / "grid" / "model" / "model.safetensors").stat().st_mtime_ns
    assert run(config) == result  # done already
    assert (workplace / "grid" / "model" / "model.safetensors").stat().st_mtime_ns == written_ns
    with pytest.raises(UserError, match="holds a run with other settings"):
        run(replace(config, seed=1))


@pytest.mark.ray
@pytest.mark.slow
def test_pictures_are_made_aside(undisturbed: Path, workplace: Path) -> None:
    """One at a time, in another process; what fails or takes too long is said and leaves nothing behind."""
    settings = stage_settings(base_config("undisturbed"))
    run_id = json.loads((undisturbed / "run.json").read_text())["mlflow_run_id"]
    order, complaints = WorkOrder(settings, run_id, tracking.tracking_uri(), {}), list[str]()
    sampler = Sampler(order, complaints.append)
    assert sampler.ask(40)
    assert not sampler.ask(80)  # busy
    deadline = time.monotonic() + 240
    while not sampler.ask(120) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert complaints == []
    assert (undisturbed / "samples" / "step-00000040.png").stat().st_size > 500
    sampler.close()
    impatient = replace(settings, out=str(workplace / "nothing"), samples=SampleSettings(timeout_s=0.0))
    sampler = Sampler(replace(order, settings=impatient), complaints.append)
    assert sampler.ask(40)
    assert sampler.ask(80)  # the first is given up
    sampler.close()
    assert complaints == ["no sample picture of step 40 (not done after 0 s)"]
