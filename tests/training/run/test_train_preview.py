from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from configs import SMALL, config_of

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.run.launch import RUN_FILE
from fourreal.training.stage.settings import stage_settings
from fourreal.training.train import main, run_stages

MakeFolder = Callable[..., str]


def test_a_dry_run_tells_of_each_stage_and_starts_nothing(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = make_folder("good", shape=(4, 4, 32, 48)), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["--recipe", "demo", "--data", folder, "--out", str(out), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "2 workers x 8 sequences of 4 views x 4 times x 32 x 48" in told
    assert f"what it starts from, {out}/demo-base, is made by the stage before" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_dry_run_refuses_what_the_run_would(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder("good", shape=(2, 2, 32, 48))
    assert main(["--data", folder, "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    assert "fewer than --views 8" in capsys.readouterr().err


def test_a_dry_run_refuses_the_folder_of_another_run(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of((make_folder("good"),), str(tmp_path / "out"), model=SMALL, views=3, times=4, dry_run=True)
    document = {"settings": stage_settings(config).to_json()}
    Storage(config.out).write(RUN_FILE, json.dumps(document).encode())
    run_stages({"base": config})
    assert "a dry run, nothing was made or written" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"holds a run with other settings \(data.seed was 0, is now 1"):
        run_stages({"base": replace(config, seed=1)})
