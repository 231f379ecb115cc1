"""What is finished is not done again, and another study does not go on in its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.evaluation.studies.small_study import small_config

from fourreal.evaluation.studies.ledger import Ledger, Record
from fourreal.platform.errors import UserError


def test_a_finished_cell_is_not_done_again_and_one_that_failed_is(tmp_path: Path) -> None:
    calls: list[str] = []

    def work() -> Record:
        calls.append("work")
        if len(calls) == 1:
            raise UserError("killed")
        return {"value": len(calls)}

    with pytest.raises(UserError, match="killed"):
        Ledger.open(small_config(tmp_path)).once("arms/soft/seed-0/trained", work)
    for _ in range(2):
        assert Ledger.open(small_config(tmp_path)).once("arms/soft/seed-0/trained", work) == {"value": 2}
    assert len(calls) == 2


def test_a_study_with_other_settings_is_refused_by_the_name_of_one(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    Ledger.open(config)
    Ledger.open(replace(config, seeds=5, arms=("soft",), allow_weak_base=False, resamples=10))
    Ledger.open(replace(config, fit=replace(config.fit, parallel=1)))  # as a study that ran out of memory asks for
    other = replace(config, fit=replace(config.fit, base_steps=7))
    with pytest.raises(UserError, match=r"fit\.base_steps was \d+, is now 7.*another --out"):
        Ledger.open(other)
