from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image
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


def test_a_study_goes_into_its_readme_with_its_pictures(tmp_path: Path) -> None:
    report, readme = tmp_path / "report", tmp_path / "README.md"
    report.mkdir()
    score = {"method": "soft", "steps": 1, "metric": "psnr", "value": 30.26, "grids": 9, "seed_deviation": 0.04}
    interval, spread = {"low": 29.1, "high": 31.2}, {"low": 0.5, "high": 1.0}
    found = {
        "scores": [
            {**score, "interval": interval},
            {**score, "method": "hard", "value": 29.5, "interval": interval},
            {**score, "method": "average", "steps": None, "seed_deviation": None, "interval": None},
            {**score, "metric": "tsed", "value": None, "interval": None},
            {**score, "metric": "ssim", "value": 0.9, "grids": 4, "interval": interval},
        ],
        "sources": 3,
        "bar": [{"text": "soft beats the average", "reached": False, "margin": -0.5, "unit": "dB"}],
        "differences": [
            {"metric": "psnr", "steps": 1, "against": "hard", "value": 0.76, "better": "main", "interval": spread},
            {"metric": "psnr", "steps": 1, "against": "average", "value": 0.5, "better": "main", "interval": spread},
        ],
    }
    base = {"real": {"base": 31.0, "blend": 30.5, "difference": 0.5, "interval_95": [0.3, 0.7]}}
    parts = {"soft": {"real": {"whole": 30.26, "transformer alone": 29.0}}, "hard": {"real": {}}}
    (report / "study.json").write_text(json.dumps({"base": base, "tests": {"real": found}, "parts": parts}))
    Image.new("RGB", (4, 3), "red").save(report / "steps.png")
    readme.write_text("head\n<!-- study: by infra/study_tables.py -->\nold\n<!-- end of study -->\ntail\n")
    options = ("--report", str(report), "--readme", str(readme), "--pictures", str(tmp_path))
    subprocess.run([sys.executable, str(ROOT / "infra/study_tables.py"), *options], check=True)
    text = readme.read_text()
    assert "| soft, 1 step | 30.26 ±0.04 [29.1, 31.2] |" in text
    assert "| average | 30.26 |" in text
    assert "TSED" not in text  # nobody has a value of it
    assert "NOT reached: soft beats the average: -0.50 dB" in text
    assert "hard (1 step: +0.76 dB, +0.50 to +1.00)." in text
    assert "(+0.50, +0.30 to +0.70)" in text
    assert "| real, 9 grids of 3 assets |" in text
    assert "0.900 (4)" in text  # of fewer grids
    assert "| soft, real | 30.26 | 29.00 |" in text
    assert "old" not in text
    assert text.startswith("head")
    assert text.endswith("tail\n")
    assert Image.open(tmp_path / "study-steps.webp").size == (4, 3)
