"""The real job under faults of a machine: SIGTERM, a damaged checkpoint, weights that run away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from configs import SMALL, config_of
from squares import square_grid

from fourreal.platform import tracking
from fourreal.platform.codec import encode
from fourreal.platform.config import as_yaml
from fourreal.platform.errors import UserError
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage
from fourreal.training.settings.config import Config
from fourreal.training.train import run

STEPS = 200


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, ray_of_two_cores: None) -> Iterator[Path]:
    """A working directory with data and an MLflow store of its own."""
    folder = tmp_path_factory.mktemp("faults")
    grids = [square_grid(i, 3, 3, 16, 24) for i in range(6)]
    write_shard(Storage(str(folder / "data")), 0, [(grid.key, encode(grid)) for grid in grids])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


def config(folder: Path, out: str, **changes: Any) -> Config:
    fields: dict[str, Any] = {
        "model": SMALL, "views": 3, "times": 3, "steps": STEPS, "batch_size": 1, "checkpoints": {"every": 10},
        "workers": 1, "engine": {"kind": "torch"}, "samples": {"every": 0},
    }  # fmt: skip
    return config_of((str(folder / "data"),), str(folder / out), **{**fields, **changes})


def history(folder: Path, out: str, metric: str) -> list[float]:
    run_id = json.loads((folder / out / "run.json").read_text())["mlflow_run_id"]
    return [entry.value for entry in tracking.client().MlflowClient().get_metric_history(run_id, metric)]


def checkpoint_steps(folder: Path, out: str) -> list[int]:
    return sorted(int(path.parent.name[5:]) for path in (folder / out / "checkpoints").glob("step-*/manifest.json"))


def stop_with_sigterm(folder: Path, out: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a scheduler does, and end it as a scheduler does."""
    (folder / f"{out}.yaml").write_text(as_yaml(config(folder, out, **changes)))
    command = [sys.executable, "-m", "fourreal.training.train", "--config", str(folder / f"{out}.yaml")]
    command += ["--restarts.grace-s", "300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while len(checkpoint_steps(folder, out)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def terminate_worker(out: Path, after_step: int) -> None:
    """SIGTERM to the worker of a run that goes on, once it is beyond a step."""
    known, deadline = (out / "progress.json").read_text(), time.monotonic() + 300
    while time.monotonic() < deadline:
        text = (out / "progress.json").read_text()
        if text != known and json.loads(text)["step"] > after_step - 10:
            os.kill(json.loads(text)["pid"], signal.SIGTERM)
            return
        time.sleep(0.02)


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_and_then_a_damaged_checkpoint(workplace: Path) -> None:
    """SIGTERM saves at that very step; the newest checkpoint damaged, the run goes on from the one before it.

    Then its worker gets SIGTERM, and others take its place.
    """
    stopped = stop_with_sigterm(workplace, "stopped")
    assert stopped.returncode == 2, stopped.stderr
    assert "Failed to query" not in stopped.stdout + stopped.stderr  # Ray Train would warn each second
    before, step = checkpoint_steps(workplace, "stopped")
    assert f"stopped at step {step} of {STEPS}: the same command goes on" in stopped.stderr
    newest = workplace / "stopped" / "checkpoints" / f"step-{step:08d}" / "engine.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 255
    newest.write_bytes(data)
    terminator = threading.Thread(target=terminate_worker, args=(workplace / "stopped", step))
    terminator.start()
    run(config(workplace, "stopped", checkpoints={"every": STEPS}))  # so that only SIGTERM makes a checkpoint
    terminator.join()
    restored = history(workplace, "stopped", "restored_step")
    assert restored[0] == before
    assert len(restored) == 2

    assert before < restored[1] < STEPS
    assert history(workplace, "stopped", "damaged_checkpoints") == [1]
    assert (workplace / "stopped" / "result.json").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_another_number_of_workers_goes_on(workplace: Path) -> None:
    sharded = {"engine": {"kind": "deepspeed", "zero_stage": 2}}
    stopped = stop_with_sigterm(workplace, "resized", workers=2, **sharded)
    assert stopped.returncode == 2, stopped.stderr
    step = checkpoint_steps(workplace, "resized")[-1]
    run(config(workplace, "resized", workers=1, **sharded))
    assert history(workplace, "resized", "restored_step") == [step]
    assert json.loads((workplace / "resized" / "result.json").read_text())["steps"] == STEPS


@pytest.mark.ray
@pytest.mark.slow
def test_everything_is_lost_but_the_object_store(workplace: Path, s3_bucket: str, s3_outage: Any) -> None:
    """The machine of the driver and of Ray's head goes; a driver on another Ray goes on, from a store that is busy."""
    out = f"{s3_bucket}/run"
    s3_outage.refuses = lambda number: number % 5 == 0
    settings = replace(config(workplace, "unused", checkpoints={"every": 20}, steps=200), out=out)
    (workplace / "lost.yaml").write_text(as_yaml(settings))
    command = [sys.executable, "-m", "fourreal.training.train", "--config", str(workplace / "lost.yaml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if any(entry.path.endswith("manifest.json") for entry in Storage(out).list("checkpoints", recursive=True)):
                break
            time.sleep(0.2)
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    assert not Storage(out).exists("result.json")
    again = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert again.returncode == 0, again.stderr
    run_id = json.loads(Storage(out).read("run.json"))["mlflow_run_id"]
    restored = tracking.client().MlflowClient().get_metric_history(run_id, "restored_step")
    assert len(restored) == 1
    assert restored[0].value >= 20
    assert Storage(out).exists("model/model.safetensors")
    assert s3_outage.refused > 20


@pytest.mark.ray
@pytest.mark.slow
def test_weights_that_run_away_end_the_run_in_one_sentence(workplace: Path) -> None:
    settings = config(workplace, "away", optimizer={"lr": 1e30}, guard={"max_skips": 2, "max_rollbacks": 1}, steps=40)
    with pytest.raises(UserError, match=r"not finite or far above the recent ones, also after 1 rollbacks"):
        run(settings)
    assert history(workplace, "away", "rollbacks") == [1]
    assert not (workplace / "away" / "model").exists()
