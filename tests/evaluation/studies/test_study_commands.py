"""The commands that the study starts: every arm alike but for what makes it an arm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.evaluation.studies.small_study import small_config

from fourreal.evaluation import study
from fourreal.evaluation.studies import training
from fourreal.evaluation.studies.arms import ARMS
from fourreal.evaluation.studies.config import RECIPES, Config
from fourreal.evaluation.studies.data import StudyData
from fourreal.evaluation.studies.jobs import Jobs
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.training import train_arms
from fourreal.platform.config import parse
from fourreal.platform.errors import UserError

DATA = StudyData("RENDERED", "PSEUDO", {"procedural": "HELD-OUT"})


class _Recording(Jobs):
    """Instead of training, leaves what a finished run leaves."""

    def __init__(self) -> None:
        self.commands: dict[str, list[str]] = {}

    def run(self, name: str, command: str, arguments: Sequence[str]) -> None:
        assert command == "train"
        self.commands[name] = list(arguments)
        out = Path(next(flag for flag in arguments if flag.startswith("--out=")).removeprefix("--out="))
        (out / "model").mkdir(parents=True)
        for file in ("model/model.safetensors", "model/config.json"):
            (out / file).write_text("{}")
        (out / "run.json").write_text(json.dumps({"mlflow_run_id": "1"}))
        (out / "result.json").write_text(json.dumps({"wall_s": 1.0}))

    def gpu_share(self, parallel: int) -> float:
        return 1 / parallel


@pytest.fixture
def all_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(training, "_curve", lambda run_id, metric: [])
    return small_config(tmp_path, arms=tuple(ARMS))


def test_arms_differ_in_what_makes_them_arms_and_in_nothing_else(all_arms: Config) -> None:
    jobs = _Recording()
    train_arms(all_arms, DATA, jobs, Ledger.open(all_arms))
    assert len(jobs.commands) == len(ARMS) * all_arms.seeds
    mine = {
        name: set(jobs.commands[f"arms/{name}/seed-1/train"]) - {f"--out={training.arm_folder(all_arms, name, 1)}"}
        for name in ARMS
    }
    soft = mine["soft"]
    assert mine["hard"] ^ soft == {"--model.architecture=hard", "--model.architecture=soft"}
    assert mine["fused"] ^ soft == {"--model.architecture=fused", "--model.architecture=soft"}
    assert mine["regression"] ^ soft == {"--diffusion.pure-noise=0.5", "--diffusion.pure-noise=1.0"}
    assert mine["soft-without-rendered"] ^ soft == {"RENDERED", "--mixture.weights", "0.75", "0.25"}
    assert mine["soft-without-pseudo-4d"] ^ soft == {"PSEUDO", "--mixture.weights", "0.75", "0.25"}


def test_runs_that_train_at_a_time_share_what_gpus_there_are(all_arms: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = _Recording()
    config = replace(all_arms, fit=replace(all_arms.fit, parallel=4))
    train_arms(config, DATA, jobs, Ledger.open(config))
    assert all("--gpu-share=0.25" in command for command in jobs.commands.values())
    monkeypatch.setattr(Jobs, "ray", lambda self: "")
    for gpus, parallel, share in ((1, 3, 0.3333), (2, 3, 0.6666), (8, 3, 1.0), (0, 3, 1.0)):
        fake = SimpleNamespace(cluster_resources=lambda gpus=gpus: {"CPU": 2.0, "GPU": float(gpus)})
        monkeypatch.setitem(sys.modules, "ray", fake)
        found = Jobs(Path(), ExitStack()).gpu_share(parallel)
        assert found == share
        assert found == 1 or found * parallel <= gpus


def test_arms_that_are_trained_are_not_trained_again(all_arms: Config) -> None:
    train_arms(all_arms, DATA, _Recording(), Ledger.open(all_arms))
    again = _Recording()
    fits = train_arms(all_arms, DATA, again, Ledger.open(all_arms))
    assert again.commands == {}
    assert len(fits) == len(ARMS) * all_arms.seeds


def test_a_job_that_fails_stops_the_study_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(tmp_path, ExitStack())
    monkeypatch.setattr(Jobs, "ray", lambda self: "")
    with pytest.raises(UserError, match=r"data/rendered ended with status 2 \(fourreal: there is no command 'rend'"):
        jobs.run("data/rendered", "rend", [])
    assert "no command" in (tmp_path / "data/rendered.log").read_text()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_a_study(recipe: str, tmp_path: Path) -> None:
    config = parse(Config, ["--recipe", recipe, "--out", str(tmp_path)], prog="fourreal study", recipes=RECIPES)
    assert config.out == tmp_path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arms": ("soft", "solid")}, "--arms names 'solid'"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"metrics": ("psnr", "fid")}, "fid, one value for a whole set"),
        ({"reconstruction_grids": 1, "reconstruction_steps": 3}, "is not among --sampling-steps"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        small_config(tmp_path, **changes)


def test_a_dry_run_counts_what_is_finished_and_leaves_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path / "study", assets="ASSETS", reconstruction_grids=1, reconstruction_steps=4)
    study.run(replace(config, dry_run=True))
    told = capsys.readouterr().out
    assert "base model      0 of 2 finished" in told
    assert "scored          0 of 22 finished" in told  # two arms at two steps and one at one, twice twice; baselines
    assert not (tmp_path / "study").exists()
    Ledger.open(config).finish("base/trained", {})
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*"))
    study.run(replace(config, dry_run=True))
    assert "base model      1 of 2 finished" in capsys.readouterr().out
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) == before
    with pytest.raises(UserError, match="holds a study with other settings"):
        study.run(replace(config, views=5, dry_run=True))


def test_the_study_imports_no_ray_before_it_needs_one() -> None:
    code = "import sys, fourreal.evaluation.study; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
