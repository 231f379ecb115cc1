from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SCRIPT = ROOT / "infra/figures.py"


def filled(readme: Path, bench: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--bench", str(bench), "--readme", str(readme)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_measured_rows_change_and_others_stay(tmp_path: Path) -> None:
    readme, bench = tmp_path / "README.md", tmp_path / "bench"
    readme.write_text((ROOT / "README.md").read_text())
    bench.mkdir()
    (bench / "model.json").write_text(json.dumps({"soft_step_vs_counted_ops": 9.876, "fused_vs_soft_step": 0.123}))
    (bench / "train.json").write_text(json.dumps({"loop_vs_bare_step": 1.5}))  # as with --quick: no restart
    assert filled(readme, bench).returncode == 0
    was, now = (path.read_text().splitlines() for path in (ROOT / "README.md", readme))
    changed = [line for line in now if line not in was]
    assert [line.split(" | ")[1] for line in changed] == ["1.50 times |", "9.88; 0.12 |"]
    assert len(was) == len(now)


def test_without_its_place_nothing_is_written(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# no table\n")
    done = filled(readme, tmp_path)
    assert done.returncode == 2
    assert "no lines" in done.stderr
    assert readme.read_text() == "# no table\n"
