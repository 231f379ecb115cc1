from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fourreal.training.train import main

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
