"""A few seconds of each fuzz target with fixed seeds; `make fuzz MINUTES=5` runs them for longer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fuzz.harness import Fault, Target, execute
from tests.fuzz.run import fuzz, place_of
from tests.fuzz.targets import TARGETS

_EXAMPLES = 100


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_hostile_inputs_end_in_a_result_or_one_sentence(name: str, tmp_path: Path) -> None:
    assert fuzz(TARGETS[name], _EXAMPLES // TARGETS[name].cost, 0, tmp_path) > 0


class _Refused(Exception):
    pass


def _writes_outside(given: object, folder: Path) -> None:
    (folder.parent / "escaped").write_text("x")


def _reads_a_secret(given: object, folder: Path) -> None:
    (folder / "../outside/secret").read_text()


def _refuses_at_length(given: object, folder: Path) -> None:
    raise _Refused("two\nlines")


@pytest.mark.parametrize("use", [_writes_outside, _reads_a_secret, _refuses_at_length])
def test_the_harness_sees_what_it_looks_for(use: Callable[[Any, Path], object], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    with pytest.raises(Fault):
        execute(Target("x", TARGETS["glb"].inputs, use, (_Refused,)), None, tmp_path / "in")


def test_a_finding_is_named_by_its_place_in_the_product() -> None:
    from fourreal.platform.grid import check_key

    with pytest.raises(ValueError, match="grid key") as caught:
        check_key("a/b")
    assert place_of(caught.value).startswith("ValueError at platform/grid.py:")
