"""What a run takes, reckoned before it begins, against what it does take; and what does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from configs import SMALL, config_of

from fourreal.platform.errors import UserError
from fourreal.training.engine.torch import TorchEngine
from fourreal.training.run.launch import scaling
from fourreal.training.run.preflight import check_room, reckon
from fourreal.training.stage.assembly import build_model
from fourreal.training.stage.settings import StageSettings, stage_settings
from fourreal.training.train import run

MakeFolder = Callable[..., str]


def settings_of(folder: str, out: Path, **fields: Any) -> StageSettings:
    fields = {"model": SMALL, "views": 3, "times": 3, "batch_size": 2, "workers": 1, **fields}
    return stage_settings(config_of((folder,), str(out), **fields))


def test_workers_take_gpus_or_parts_of_them_where_there_are_enough_and_cores_otherwise(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, two = make_folder("a"), {"workers": 2, "engine": {"kind": "deepspeed"}}
    whole = settings_of(folder, tmp_path / "out", **two)
    part = settings_of(folder, tmp_path / "out", gpu_share=0.25)
    machine = {"CPU": 4.0, "GPU": 1.0}
    assert scaling(part, machine) == {
        "num_workers": 1, "use_gpu": True, "resources_per_worker": {"CPU": 1, "GPU": 0.25}
    }  # fmt: skip
    assert scaling(whole, {"CPU": 4.0, "GPU": 2.0})["resources_per_worker"]["GPU"] == 1
    assert scaling(whole, {"CPU": 4.0}) == {"num_workers": 2, "use_gpu": False}
    capsys.readouterr()
    assert scaling(whole, machine) == {"num_workers": 2, "use_gpu": False}
    assert "1 GPUs are fewer than --workers 2 need: training on CPU cores" in capsys.readouterr().out
    for gpus in (0.0, 2.0):
        with pytest.raises(UserError, match="the cluster has 1 cores: lower --workers 2"):
            scaling(whole, {"CPU": 1.0, "GPU": gpus})


def test_workers_of_one_run_do_not_share_a_gpu(make_folder: MakeFolder, tmp_path: Path) -> None:
    """NCCL refuses two ranks on one."""
    shared = settings_of(make_folder("a"), tmp_path / "out", gpu_share=0.5, workers=2, engine={"kind": "deepspeed"})
    with pytest.raises(UserError, match="workers of one run cannot share a GPU"):
        scaling(shared, {"CPU": 4.0, "GPU": 1.0})
    assert scaling(shared, {"CPU": 4.0}) == {"num_workers": 2, "use_gpu": False}


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_checkpoint_is_as_large_as_reckoned(make_folder: MakeFolder, tmp_path: Path, ema_decay: float) -> None:
    settings = settings_of(make_folder("a"), tmp_path / "out", optimizer={"ema_decay": ema_decay})
    engine = TorchEngine(build_model(settings, None), torch.device("cpu"), settings.optimizer, settings.engine)
    frames, given = torch.rand(2, 3, 3, 16, 24), torch.zeros(2, 3, dtype=torch.bool)
    engine.backward(engine.forward(frames, torch.rand(2), given, torch.zeros(2, dtype=torch.int64)).sum())
    engine.step(1e-3)
    torch.save(engine.snapshot(), tmp_path / "snapshot")
    assert (tmp_path / "snapshot").stat().st_size == pytest.approx(reckon(settings).checkpoint, rel=0.05)
    assert reckon(settings).export == sum(4 * parameter.numel() for parameter in engine.model.parameters())


def test_workers_share_what_zero_splits(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder("a")

    def worker_bytes(stage: int, workers: int = 4) -> int:
        return reckon(settings_of(folder, tmp_path, workers=workers, engine={"zero_stage": stage})).worker

    weights = reckon(settings_of(folder, tmp_path)).export
    assert worker_bytes(0) == worker_bytes(3, workers=1)
    falls = [worker_bytes(stage) - worker_bytes(stage + 1) for stage in range(3)]
    assert falls == pytest.approx([2 * weights * 3 / 4, weights * 3 / 4, weights * 3 / 4], rel=1e-3)


def test_too_little_memory_or_disk_is_one_sentence_before_anything_is_written(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = config_of((make_folder("a"),), str(tmp_path / "out"), model=SMALL, views=3, times=3, workers=2)
    need = reckon(stage_settings(config))
    check_room(stage_settings(config))
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * need.worker - 2))
        with pytest.raises(UserError, match="of memory a worker, and this machine has for each of 2"):
            run(config)
    with monkeypatch.context() as patch:
        free = 3 * need.checkpoint + need.export - 1
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        with pytest.raises(UserError, match=r"3 checkpoints of .* free: free some, or choose another --out"):
            run(config)
        made = tmp_path / "out/checkpoints/step-1/part"  # what an earlier checkpoint holds, the next ones may
        made.parent.mkdir(parents=True)
        made.write_bytes(b"1")
        check_room(stage_settings(config))


def test_the_page_cache_of_a_container_is_memory_that_can_be_had(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings = settings_of(make_folder("a"), tmp_path / "out")
    need, cgroup = reckon(settings).worker, tmp_path / "cgroup"
    cgroup.mkdir()
    monkeypatch.setattr("fourreal.training.run.preflight._CGROUP", cgroup)
    (cgroup / "memory.max").write_text(f"{2 * need}\n")
    (cgroup / "memory.current").write_text(f"{2 * need}\n")
    (cgroup / "memory.stat").write_text(f"anon {need}\ninactive_file {need - 10}\nactive_file 10\n")
    check_room(settings)
    (cgroup / "memory.stat").write_text(f"anon {need + 1}\ninactive_file {need - 11}\nactive_file 10\n")
    with pytest.raises(UserError, match="of memory a worker, and this machine has for each of 1"):
        check_room(settings)
