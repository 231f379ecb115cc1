from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tests.platform.numbers_job import Numbers, number_items

from fourreal.platform import status
from fourreal.platform.datajob import note
from fourreal.platform.datajob.note import JobNote, keeping_note
from fourreal.platform.datajob.plan import make_plan, write_plan
from fourreal.platform.datajob.shard_task import ShardOrder, make_shard
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

FINGERPRINT = make_plan("numbers", {}, number_items(8), 2).fingerprint


def _note(state: str = "running") -> JobNote:
    return JobNote("numbers", FINGERPRINT, state, 8, 3, {"bad_number": 1}, 30.0, 8.0)  # type: ignore[arg-type]


def _job(out: Storage, folder: Path, shards: int) -> None:
    """A data job of four shards of two items, of which item 1 is refused, as it stands after so many shards."""
    faults = folder / "faults.json"
    faults.write_text('{"1": "refuse"}')
    plan = make_plan("numbers", {}, number_items(8), 2)
    write_plan(out, plan)
    for index in range(shards):
        make_shard(out, ShardOrder(index, plan.items_of(index), plan.fingerprint), Numbers(faults))


def test_a_data_job_is_told_from_its_folder_running_silent_ended_and_done(tmp_path: Path) -> None:
    out = Storage(str(tmp_path / "out"))
    _job(out, tmp_path, 2)
    now = time.time()
    for index in range(2):  # a minute between two shards
        os.utime(out.path(f"shard-{index:06d}.json"), (now - 60 * (2 - index), now - 60 * (2 - index)))
    with keeping_note(out, lambda _: _note()):
        running = status.status(out, time.time())
    assert (running["state"], running["grids"], running["quarantined"]) == ("running", 3, {"bad_number": 1})
    assert (running["shards"], running["planned_shards"], running["items"]) == (2, 4, 8)
    assert running["items_per_minute"] == pytest.approx(2.0, rel=0.01)
    assert running["left_s"] == pytest.approx(120.0, rel=0.01)
    assert running["run"]["pid"] == os.getpid()
    assert status.status(out, time.time() + 1000)["state"] == status.SILENT
    with keeping_note(out, _note):
        pass
    assert status.status(out, time.time())["state"] == "ended with shards missing"
    out.delete(note.NOTE)  # a job of before there were notes
    assert status.status(out, time.time())["state"] == status.SILENT
    _job(out, tmp_path, 4)
    assert status.status(out, time.time())["state"] == "done"
    with keeping_note(out, lambda _: _note()):  # by --retry-quarantined
        assert status.status(out, time.time())["state"] == "running"


def test_a_job_on_s3_is_told_alike(s3_bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = Storage(f"{s3_bucket}/numbers")
    _job(out, tmp_path, 1)
    with keeping_note(out, lambda _: _note()):
        assert status.main([out.uri]) == 0
    text = capsys.readouterr().out
    assert "numbers, running" in text
    assert "8 planned, 1 grids, 1 quarantined" in text
    assert "1 of 4" in text


def test_a_note_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with keeping_note(Storage(str(tmp_path / "file")), lambda _: _note()):
        pass


def test_a_training_run_is_told_by_stage_from_notes_and_whole_checkpoints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    progress = {"step": 30, "steps": 100, "loss": 0.5, "samples_per_s": 4.0, "left_s": 70.0, "pid": 1}
    for stage in (base, tmp_path):
        stage.mkdir(exist_ok=True)
        (stage / "run.json").write_text('{"settings": {}, "mlflow_run_id": "1234"}')
        (stage / "progress.json").write_text(json.dumps(progress))
    for step, whole in ((10, True), (20, True), (30, False)):
        folder = tmp_path / f"checkpoints/step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")  # each checkpoint has one too
        if whole:
            (folder / "manifest.json").write_text("{}")
    (base / "result.json").write_text('{"steps": 100, "end_loss": 0.25, "samples_per_s": 5.0}')
    stages = {stage["folder"]: stage for stage in status.status(Storage(str(tmp_path)), time.time())["stages"]}
    assert set(stages) == {str(base), str(tmp_path)}
    first, second = stages[str(base)], stages[str(tmp_path)]
    assert (first["state"], first["loss"]) == ("done", 0.25)
    assert (second["state"], second["step"], second["checkpoint_step"]) == ("running", 30, 20)
    silent = status.status(Storage(str(tmp_path)), time.time() + 1000)["stages"]
    assert {stage["state"] for stage in silent} == {"done", status.SILENT}
    (tmp_path / "stopped.json").write_text('{"reason": "the loss is not finite"}')
    assert status.main([str(tmp_path)]) == 0
    assert "the loss is not finite" in capsys.readouterr().out


def test_the_files_of_a_training_run_are_those_that_training_writes() -> None:
    from fourreal.training.checkpoint import store
    from fourreal.training.report import tracker
    from fourreal.training.run import launch, lead, worker
    from fourreal.training.workers import stopping

    written = (launch.RUN_FILE, lead.RESULT_FILE, stopping.STOPPED_FILE, store.MANIFEST_FILE)
    assert written == (status.RUN, status.RESULT, status.STOPPED, status.MANIFEST)
    assert f"{worker.CHECKPOINT_FOLDER}/{store._name(7)}".startswith(status.CHECKPOINT)
    assert tracker.PROGRESS_FILE == note.NOTE
    assert {"step", "steps", "loss", "samples_per_s", "left_s"} <= set(tracker.ProgressNote.__dataclass_fields__)
    assert {"steps", "end_loss", "samples_per_s"} <= set(launch.StageResult.__dataclass_fields__)


def test_a_folder_that_is_neither_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("")
    with pytest.raises(UserError, match=r"output of no data job .* and of no training run"):
        status.status(Storage(str(tmp_path)), time.time())
