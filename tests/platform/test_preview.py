from __future__ import annotations

from pathlib import Path

import pytest
from tests.platform.numbers_job import number_items, numbers_job

from fourreal.platform.datajob import preview_data_job
from fourreal.platform.datajob.plan import make_plan, write_plan
from fourreal.platform.errors import UserError
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage


def test_a_preview_counts_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preview = preview_data_job(numbers_job(tmp_path / "out", 7))
    assert (preview.items, preview.shards, preview.done) == (7, 4, 0)
    assert preview.sources == ("number 0", "number 1")
    assert not list(tmp_path.iterdir())
    preview.print_table("numbers")
    assert "7: number 0, number 1, ..." in capsys.readouterr().out


def test_a_preview_goes_by_the_plan_that_is_there(tmp_path: Path) -> None:
    job = numbers_job(tmp_path / "out", 7)
    out, plan = Storage(job.out), make_plan(job.name, job.settings, number_items(5), job.items_per_shard)
    write_plan(out, plan)
    write_shard(out, 1, [], plan=plan.fingerprint)
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    preview = preview_data_job(job)
    assert (preview.items, preview.shards, preview.done) == (5, 3, 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == before


def test_a_preview_refuses_what_the_job_would(tmp_path: Path) -> None:
    job = numbers_job(tmp_path / "out", 4)
    write_plan(Storage(job.out), make_plan(job.name, {"views": 3}, number_items(4), job.items_per_shard))
    with pytest.raises(UserError, match="views"):
        preview_data_job(job)
    with pytest.raises(UserError):
        preview_data_job(numbers_job(tmp_path / "other", 0))
