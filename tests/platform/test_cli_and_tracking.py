from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from fourreal.platform import cli, doctor, inspection, tracking
from fourreal.platform.codec import encode
from fourreal.platform.datajob.items import Item, ItemFailure
from fourreal.platform.datajob.quarantine import record_of, write_quarantine
from fourreal.platform.datajob.record import record_data_job
from fourreal.platform.datajob.summary import JobSummary
from fourreal.platform.grid import Grid
from fourreal.platform.shards import list_shards, shards_sha256, write_shard
from fourreal.platform.storage import Storage

GridMaker = Callable[..., Grid]


@pytest.fixture
def shards(tmp_path: Path, make_grid: GridMaker) -> Path:
    storage = Storage(str(tmp_path / "shards"))
    write_shard(storage, 0, [(key, encode(make_grid(key))) for key in ("a", "b")])
    failure = ItemFailure("import", "no_meshes", "there is nothing to see")
    write_quarantine(storage, [record_of(Item("c", "c.glb"), failure, 1)])
    return tmp_path / "shards"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    for group in cli.COMMANDS.values():
        for name, command in group.items():
            assert f"  {name} " in shown
            assert command.summary in shown


def test_a_misspelt_command_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synthesise"]) == 2
    assert "did you mean synthesize?" in capsys.readouterr().err
    assert cli.main(["xyzzy"]) == 2
    assert "lists the commands" in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    needs = cli.Command("tests.platform.needs_what_is_not_there", "", "train")
    monkeypatch.setitem(cli.COMMANDS["Model"], "train", needs)

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'deepspeed'", name="deepspeed")

    monkeypatch.setattr(cli.importlib, "import_module", missing)
    assert cli.main(["train"]) == 2
    assert (
        capsys.readouterr().err == "fourreal train: the package deepspeed is missing: pip install 'fourreal[train]'\n"
    )


@pytest.mark.parametrize(
    "command", ["render", "synthesize", "train", "generate", "evaluate", "view", "inspect", "submit"]
)
def test_every_command_helps_as_a_module(command: str) -> None:
    found = cli.find(command)
    assert found is not None
    done = subprocess.run([sys.executable, "-m", found.module, "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"fourreal {command}" in done.stdout


def test_inspect_tells_people_and_programs(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    assert cli.main(["inspect", str(shards), "--json", "--sheet", str(sheet)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["grids"], document["quarantined"]) == (2, 1)
    assert document["keys"] == ["a", "b"]
    assert document["quarantine_reasons"] == {"no_meshes": 1}
    assert document["shapes_v_t_h_w"] == {"2x3x16x24": 2}
    assert sheet.stat().st_size > 100
    assert cli.main(["inspect", str(shards)]) == 0
    assert "no_meshes: there is nothing to see" in capsys.readouterr().out
    assert (shards / "contact-sheet.png").exists()


def test_inspect_tells_also_where_no_sheet_can_be_written(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shards / "contact-sheet.png").mkdir()
    for options in ([], ["--sheet-grids", "0"]):
        assert inspection.main([str(shards), "--json", *options]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["grids"] == 2
        assert "contact_sheet" not in told
    assert inspection.main([str(shards), "--sheet", str(shards)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_inspect_of_another_folder_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspection.main([str(tmp_path)]) == 2
    assert "holds no shards: give the --out of" in capsys.readouterr().err


def test_doctor_says_what_a_missing_package_means(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main([]) == 0
    assert "everything that every job needs is here" in capsys.readouterr().out
    find = doctor.importlib.util.find_spec
    for lost, needed in (("deepspeed", False), ("webdataset", True)):
        monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda n, lost=lost: None if n == lost else find(n))
        assert doctor.main([]) == int(needed)
        shown = capsys.readouterr().out
        assert f"--  {lost}" in shown
        assert "pip install" in shown


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_a_run_is_recorded_and_goes_on_after_a_restart(store: Path) -> None:
    with tracking.run("training", "first", {"lr": 0.1, "model": {"size": "nano"}}, tags={"stage": "base"}) as run_id:
        tracking.client().log_metric("loss", 2.0, step=1)
    with tracking.run("training", "ignored", {"lr": 0.2}, run_id=run_id) as again:
        tracking.client().log_metric("loss", 1.0, step=2)
        (store / "note.txt").write_text("hello")
        tracking.client().log_artifact(str(store / "note.txt"))
    assert again == run_id
    recorded = tracking.client().get_run(run_id)
    assert recorded.info.run_name == "first"
    assert recorded.data.params == {"lr": "0.1", "model.size": "nano"}
    assert recorded.data.metrics == {"loss": 1.0}
    history = tracking.client().MlflowClient().get_metric_history(run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]
    assert (store / "outputs/mlflow/artifacts/training" / run_id / "artifacts/note.txt").read_text() == "hello"


def test_a_run_that_fails_is_marked_so(store: Path) -> None:
    ids = []

    def fail() -> None:
        with tracking.run("training", "bad", {}) as run_id:
            ids.append(run_id)
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        fail()
    assert tracking.client().get_run(ids[0]).info.status == "FAILED"


def test_runs_about_the_same_shards_find_each_other(
    store: Path, monkeypatch: pytest.MonkeyPatch, make_grid: Callable[..., Grid]
) -> None:
    """A data job's record, and a run that read what it made; without an address there is no record."""
    summary = JobSummary(2, {}, 1, [], 10, True, 2, 1.0, 2.0, str(store / "shards"))
    write_shard(Storage(summary.out), 0, [("a", encode(make_grid("a")))])
    record_data_job("render", {"views": 4, "model_sha256": "ab"}, (), summary)
    assert not (store / "outputs").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.tracking_uri())
    record_data_job("render", {"views": 4, "model_sha256": "ab"}, (), summary)
    record_data_job("render", {}, (), dataclasses.replace(summary, tried_now=False))
    digest = shards_sha256(list_shards(Storage(summary.out)))
    with tracking.run("training", "reads them", {}) as run_id:
        tracking.log_datasets({summary.out: digest}, "training", run_id=run_id)
    search = tracking.client().search_runs
    (made,) = search(experiment_names=["data"], output_format="list")
    assert made.data.tags["fourreal.made_sha256"] == digest
    assert made.data.tags["model_sha256"] == "ab"
    assert made.data.metrics["grids"] == 2
    (read,) = search(
        experiment_names=["training"],
        filter_string=f"tags.`fourreal.training_sha256` = '{digest}'",
        output_format="list",
    )
    assert read.info.run_id == run_id
    assert read.inputs.dataset_inputs[0].dataset.digest == made.inputs.dataset_inputs[0].dataset.digest == digest[:32]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    record_data_job("render", {}, (), summary)  # warns


def test_the_link_to_a_comparison_names_its_runs(store: Path) -> None:
    ids = []
    for name in "ab":
        with tracking.run("evaluation", name, {}) as run_id:
            ids.append(run_id)
    link = tracking.compare_address(ids)
    page, _, query = link.removesuffix(" (once `make ui` serves it)").partition("?")
    assert page == "http://127.0.0.1:5000/#/compare-runs"
    values = {name: json.loads(value) for name, (value,) in parse_qs(query).items()}
    assert values["runs"] == ids
    assert len(values["experiments"]) == 1


def test_nested_parameters_become_flat_names() -> None:
    assert tracking.flatten({"a": 1, "b": {"c": 2, "d": {"e": 3}}}) == {"a": 1, "b.c": 2, "b.d.e": 3}
