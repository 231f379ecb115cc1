"""What the study's processes that generate and score say when something goes wrong in them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.evaluation.studies.small_study import small_config

from fourreal.evaluation.generate import Config as GenerateConfig
from fourreal.evaluation.studies import scores
from fourreal.evaluation.studies.jobs import Jobs
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.scores import generate_and_score
from fourreal.platform.datajob import JobSummary
from fourreal.platform.errors import UserError


class _NoRay(Jobs):
    """What is tested ends before Ray is asked for anything."""

    def __init__(self) -> None: ...

    def ray(self) -> str:
        return "127.0.0.1:1"

    def gpu_share(self, parallel: int) -> float:
        return 1.0


def score(out: Path) -> Ledger:
    config = small_config(out, arms=("soft",), seeds=1)
    ledger = Ledger.open(config)
    generate_and_score(config, {"procedural": str(out / "nothing")}, _NoRay(), ledger)
    return ledger


def processes() -> list[psutil.Process]:
    """Of a pool of this process."""
    return [child for child in psutil.Process().children() if any("spawn_main" in word for word in child.cmdline())]


def kill_the_first() -> None:
    """As the kernel does when memory is short."""
    deadline = time.monotonic() + 60
    while not (found := processes()) and time.monotonic() < deadline:
        time.sleep(0.01)
    found[0].kill()


def test_what_cannot_be_generated_is_said_by_the_study_itself(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"seed-0/model.* is no exported model"):
        score(tmp_path)
    assert not processes()


def test_what_was_quarantined_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[GenerateConfig] = []

    def refuse(config: GenerateConfig) -> JobSummary:
        asked.append(config)
        return JobSummary(3, {"unexpected_error": 1}, 1, (), 10, True, 0, 1.0, 1.0, config.out)

    monkeypatch.setattr(scores, "generate", refuse)
    with pytest.raises(UserError, match=r"lacks grids .*unexpected_error.* the same command tries again"):
        scores._generate(small_config(tmp_path), scores._Cell("soft", 0, "procedural", 1, "references"), 1.0)
    assert asked[0].retry_quarantined


def test_a_process_that_is_killed_ends_the_study_in_one_sentence(tmp_path: Path) -> None:
    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with pytest.raises(UserError, match=r"was ended .* run the same command, .* a smaller --fit\.parallel"):
        score(tmp_path)
    killer.join()
