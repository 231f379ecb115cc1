"""The whole study at its smallest, and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from fourreal.evaluation import study
from fourreal.evaluation.studies.jobs import Jobs
from fourreal.platform.config import parse

SMALLEST = [
    "--recipe=quick", "--arms", "soft", "--sampling-steps", "1", "--reconstruction-grids=0",
    "--reconstruction-steps=1", "--metrics", "psnr", "psnr_foreground", "lpips", "--data.train-assets=3",
    "--data.videos=1", "--fit.base-steps=4", "--fit.grid-steps=2", "--fit.checkpoints-every=2",
]  # fmt: skip


@pytest.mark.ray
@pytest.mark.blender
@pytest.mark.slow
def test_the_study_runs_from_nothing_to_its_report_and_has_then_nothing_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    config = parse(
        study.Config, [*SMALLEST, f"--out={tmp_path / 'study'}"], prog="fourreal study", recipes=study.RECIPES
    )
    first = study.study(config)
    names = {path.name for path in (tmp_path / "study/report").iterdir()}
    assert {"study.md", "study.json", "curves.png", "steps.png", "synchronization.png"} <= names
    assert "examples-procedural.png" in names
    monkeypatch.setattr(Jobs, "ray", lambda self: pytest.fail("something was done again"))
    second = study.study(config)
    assert second.found[0].values == first.found[0].values
