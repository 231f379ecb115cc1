"""Puts what a study found into the evaluation room's README, and its pictures beside the others.

fourreal study --recipe cpu --assets UNSEEN_ASSETS --out outputs/study
python infra/study_tables.py [--report outputs/study/report] [--readme evaluation/README.md] [--pictures infra/pictures]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from figures import ROOT, splice
from PIL import Image

BEGIN, END = "<!-- study: by infra/study_tables.py -->", "<!-- end of study -->"
COLUMNS = {
    "psnr": "PSNR dB", "psnr_foreground": "foreground", "ssim": "SSIM", "sharpness": "sharpness", "flicker": "flicker",
    "tsed": "TSED", "epipolar_inliers": "epipolar inliers", "reconstruction": "reconstruction",
}  # fmt: skip
"""Metrics, by their names in study.json."""
WITH_INTERVAL = ("psnr", "psnr_foreground")
PICTURES = ("steps", "synchronization", "examples-real")


def tables(study: dict[str, Any]) -> str:
    """The base model's line, and for each test set its table, the bar, and what is decided between arms."""
    base = [
        f"{test}: {entry['base']:.2f} dB against {entry['blend']:.2f} ({entry['difference']:+.2f}{_limits(entry)})"
        for test, entry in study["base"].items()
    ]
    parts = [f"Base model against the linear blend, frames between two given ones: {'; '.join(base)}."]
    for test, found in study["tests"].items():
        parts += [_table(test, found), _bar(found), _decided(found)]
    parts.append(_taken_apart(study["parts"]))
    return "\n\n".join(part for part in parts if part)


def _taken_apart(parts: dict[str, Any]) -> str:
    rows = [(f"{arm}, {test}", values) for arm, tests in parts.items() for test, values in tests.items() if values]
    if not rows:
        return ""
    lines = [f"| taken apart, one step, PSNR dB | {' | '.join(rows[0][1])} |", "|---" * (len(rows[0][1]) + 1) + "|"]
    return "\n".join(
        [*lines, *(f"| {row} | {' | '.join(f'{v:.2f}' for v in values.values())} |" for row, values in rows)]
    )


def _limits(entry: dict[str, Any]) -> str:
    spread = entry["interval_95"]
    return f", {spread[0]:+.2f} to {spread[1]:+.2f}" if spread else ""


def _table(test: str, found: dict[str, Any]) -> str:
    cells: dict[str, dict[str, str]] = {}
    grids = max(score["grids"] for score in found["scores"])
    for score in found["scores"]:
        cells.setdefault(_label(score), {})[score["metric"]] = _cell(score, grids)
    shown = [metric for metric in COLUMNS if any(row.get(metric, "-") != "-" for row in cells.values())]
    lines = [
        f"| {test}, {grids} grids of {found['sources']} assets | {' | '.join(COLUMNS[metric] for metric in shown)} |",
        "|---" * (len(shown) + 1) + "|",
    ]
    lines += [f"| {label} | {' | '.join(row.get(metric, '-') for metric in shown)} |" for label, row in cells.items()]
    return "\n".join(lines)


def _label(row: dict[str, Any]) -> str:
    steps = row["steps"]
    return str(row["method"]) if steps is None else f"{row['method']}, {steps} step{'s' if steps > 1 else ''}"


def _cell(score: dict[str, Any], grids: int) -> str:
    if score["value"] is None:
        return "-"
    digits = 2 if score["metric"] in (*WITH_INTERVAL, "flicker") else 3
    text = f"{score['value']:.{digits}f}"
    if score["metric"] not in WITH_INTERVAL:
        return text if score["grids"] == grids else f"{text} ({score['grids']})"
    if score["seed_deviation"] is not None:
        text += f" ±{score['seed_deviation']:.2f}"
    if spread := score["interval"]:
        text += f" [{spread['low']:.1f}, {spread['high']:.1f}]"
    return text


def _bar(found: dict[str, Any]) -> str:
    lines = []
    for claim in found["bar"]:
        verdict = "reached" if claim["reached"] else "NOT reached"
        lines.append(f"- {verdict}: {claim['text']}: {claim['margin']:+.2f} {claim['unit']}".rstrip())
    return "\n".join(lines)


def _decided(found: dict[str, Any]) -> str:
    """Of the differences between arms in PSNR, those that are not chance."""
    methods = {score["method"] for score in found["scores"] if score["steps"] is not None}
    gaps = [gap for gap in found["differences"] if gap["metric"] == "psnr" and gap["against"] in methods]
    decided = [
        f"{gap['against']} ({gap['steps']} step{'s' if gap['steps'] > 1 else ''}: {gap['value']:+.2f} dB, "
        f"{gap['interval']['low']:+.2f} to {gap['interval']['high']:+.2f})"
        for gap in gaps
        if gap["better"]
    ]
    if not decided:
        return f"None of the {len(gaps)} differences in PSNR between `soft` and another arm is decided."
    return f"`soft` less another arm in PSNR, where Holm's p is below 0.05: {', '.join(decided)}."


def main() -> int:
    """Write it; 2 when the README has no place for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=Path("outputs/study/report"))
    parser.add_argument("--readme", type=Path, default=ROOT / "evaluation/README.md")
    parser.add_argument("--pictures", type=Path, default=ROOT / "infra/pictures")
    arguments = parser.parse_args()
    study = json.loads((arguments.report / "study.json").read_text())
    if not splice(arguments.readme, BEGIN, END, lambda before: tables(study)):
        return 2
    for name in PICTURES:
        if (arguments.report / f"{name}.png").exists():
            Image.open(arguments.report / f"{name}.png").save(arguments.pictures / f"study-{name}.webp", quality=85)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
