"""The base model beside a linear blend, and that a weak one stops the study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation.studies.small_study import small_config
from tests.evaluation.synthetic_grids import make_grid

from fourreal.evaluation import study
from fourreal.evaluation.studies import interpolation
from fourreal.evaluation.studies.data import StudyData
from fourreal.evaluation.studies.interpolation import check_base, linear_blend, weakness
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage
from fourreal.training.model import make_backbone, save_pretrained

SIZE = {"height": 24, "width": 32, "patch_size": 8, "hidden_dim": 32, "depth": 1, "heads": 2}


@pytest.fixture
def tests_folder(tmp_path: Path) -> str:
    grids = [make_grid(f"grid-{i}", time_step_px=2 + i) for i in range(5)]
    write_shard(Storage(str(tmp_path / "test")), 0, [(grid.key, encode(grid, lossless=True)) for grid in grids])
    return str(tmp_path / "test")


@pytest.fixture
def config_with_base(tmp_path: Path) -> Any:
    config = small_config(tmp_path / "study", allow_weak_base=False)
    save_pretrained(make_backbone("pixel", SIZE), tmp_path / "study/base/model")
    return config


def test_the_blend_mixes_the_ends_by_distance() -> None:
    video = np.stack([np.full((2, 2, 3), value, np.uint8) for value in (0, 7, 9, 90)])
    assert linear_blend(video)[:, 0, 0, 0].tolist() == [0, 30, 60, 90]


def test_an_untrained_base_stops_the_study_unless_that_is_allowed(config_with_base: Any, tests_folder: str) -> None:
    data = StudyData("rendered", "pseudo", {"procedural": tests_folder})
    ledger = Ledger.open(config_with_base)
    with pytest.raises(UserError, match=r"does not beat a linear blend.*dB on procedural grids.*--allow-weak-base"):
        study._check_base(config_with_base, data, ledger)
    record = study._check_base(replace(config_with_base, allow_weak_base=True), data, ledger)
    assert record["procedural"]["difference"] < 0


def test_a_base_that_knows_what_moves_beats_the_blend(
    config_with_base: Any, tests_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearly_true = lambda model, frames, context, seed: frames.clip(1) - 1  # noqa: E731
    monkeypatch.setattr(interpolation, "interpolate", nearly_true)
    record = check_base(str(config_with_base.out / "base/model"), {"procedural": tests_folder}, config_with_base)
    assert record["procedural"]["base"] > 40
    assert record["procedural"]["interval_95"][0] > 0
    assert weakness(record) == ""
