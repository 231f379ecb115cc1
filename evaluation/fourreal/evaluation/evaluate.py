"""`fourreal evaluate`: score generated grids beside baselines that learn nothing.

fourreal evaluate --predictions outputs/demo/generated --references outputs/demo/held-out
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fourreal.evaluation.metrics import STANDARD, choose_metrics
from fourreal.evaluation.networks import Device, Networks
from fourreal.evaluation.pairing import NotCompared, Pair, pair_up
from fourreal.evaluation.pretrained import WeightsStore
from fourreal.evaluation.report import table
from fourreal.evaluation.scoring import Scoreboard, baseline_frames, score_pairs
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.view_page import Entry, build_page, facts, panel_of_frames
from fourreal.platform import tracking
from fourreal.platform.config import as_document, as_yaml, command
from fourreal.platform.contact_sheet import Image, contact_sheet, stack_sheets, write_png
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

EXPERIMENT = "evaluation"
SCHEMA_VERSION = 1
_SHOWN_BASELINE = "average"
_SHEETS = 4
_SHEET_FRAME_WIDTH = 96


@dataclass(frozen=True)
class Config:
    """Compare generated grids with the true ones, over the frames that were generated."""

    predictions: str
    """Folder of generated shards (the --out of `fourreal generate`)."""
    references: str
    """Folder of the true grids; pairs are found by key."""
    out: str | None = None
    """Folder for table, scores, pictures and page (default: `evaluation` inside the predictions)."""
    metrics: tuple[str, ...] = STANDARD
    """Which metrics, by name; an unknown name lists them, `all` takes them all."""
    weights: str | None = None
    """Folder or s3:// address of published weights (default: $FOURREAL_WEIGHTS, else ~/.cache/fourreal/weights)."""
    allow_few: bool = False
    """Give FID and FVD for fewer frames or videos than they need, marked in the table."""
    device: Device = "cpu"
    """Where the published networks run."""
    shown: int = 16
    """Most grids on the page; the contact sheet shows the first four."""


@dataclass
class _Shown:
    """The first pairs, kept as what the page and the contact sheet need of them."""

    most: int
    entries: list[Entry] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)

    def watch(self, pairs: Iterable[Pair | NotCompared]) -> Iterator[Pair | NotCompared]:
        """Pass `pairs` on."""
        for pair in pairs:
            if isinstance(pair, Pair):
                if len(self.entries) < self.most:
                    self.entries.append(_entry(pair))
                if len(self.pairs) < _SHEETS:
                    self.pairs.append(pair)
            yield pair


@dataclass(frozen=True)
class Evaluation:
    """What came of it: the scores, and where they lie."""

    board: Scoreboard
    out: str
    run: str
    """Where the MLflow run is found."""


def run(config: Config) -> None:
    """Score, print, write and record. Raises UserError when no grid can be compared."""
    evaluate(config)


def evaluate(config: Config) -> Evaluation:
    """Like `run`, with the result."""
    networks = Networks(WeightsStore(config.weights), config.device)
    metrics = choose_metrics(config.metrics, networks, allow_few=config.allow_few)
    out = Storage(config.out or f"{config.predictions.rstrip('/')}/evaluation")
    out.check_writable()
    shown = _Shown(config.shown)
    pairs = pair_up(Shelf(Storage(config.predictions)), Shelf(Storage(config.references)))
    board = score_pairs(shown.watch(pairs), metrics)
    if not board.grids:
        key, reason = next(iter(board.not_compared.items()))
        raise UserError(f"none of {len(board.not_compared)} grids can be compared; of {key!r}: {reason}")
    text = table(board)
    print(text)
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder), config, board, text, shown)
        for path in sorted(Path(folder).iterdir()):
            out.write(path.name, path.read_bytes())
        address = _record(Path(folder), config, board)
    print(f"scores and pictures: {out.uri}\npage: {out.path('page.html')}\nMLflow: {address}")
    return Evaluation(board, out.uri, address)


def _write_files(folder: Path, config: Config, board: Scoreboard, text: str, shown: _Shown) -> None:
    document = {
        "schema_version": SCHEMA_VERSION,
        "predictions": config.predictions,
        "references": config.references,
        "grids": board.grids,
        "generated_frames": board.frames,
        "resolution": dict(board.resolutions),
        "fps": dict(board.fps),
        "model_sha256": sorted(board.models),
        "reference_fits": dict(board.fits),
        "not_compared": board.not_compared,
        "metrics": {
            metric.name: {
                "definition": metric.definition,
                "unit": metric.unit,
                "higher_is_better": metric.higher_is_better,
                "ideal": metric.ideal,
                "weights_sha256": dict(metric.weights),
                "needs": sorted(metric.needs),
            }
            for metric in board.metrics
        },
        "scores": board.rows(),
    }
    (folder / "metrics.json").write_text(json.dumps(document, indent=1, allow_nan=False))
    (folder / "samples.json").write_text(json.dumps(board.samples(), indent=1, allow_nan=False))
    (folder / "table.txt").write_text(text)
    (folder / "config.yaml").write_text(as_yaml(config))
    (folder / "page.html").write_text(build_page(shown.entries, "Generated beside true grids"), encoding="utf-8")
    sheets = [_sheet(pair) for pair in shown.pairs]
    write_png(folder / "contact-sheet.png", stack_sheets(sheets, [pair.key for pair in shown.pairs]))


def _sheet(pair: Pair) -> Image:
    """Reference and prediction side by side, small frames enlarged."""
    times = max(1, _SHEET_FRAME_WIDTH // pair.prediction.width)
    sides = []
    for title, frames in (("reference", pair.reference), ("generated", pair.prediction.frames)):
        sheet = contact_sheet(frames.repeat(times, axis=2).repeat(times, axis=3))
        sides.append(stack_sheets([np.pad(sheet, ((0, 0), (0, 12), (0, 0)), constant_values=24)], [title]))
    return np.concatenate(sides, axis=1)


def _record(folder: Path, config: Config, board: Scoreboard) -> str:
    mlflow = tracking.client()
    tags = {"model_sha256": ", ".join(sorted(board.models))[:500], "fourreal.job": "evaluate"}
    name = f"evaluate {config.predictions.rstrip('/').rsplit('/', 1)[-1]}"
    with tracking.run(EXPERIMENT, name, as_document(config), tags=tags) as run_id:
        rows = board.rows()
        values = {f"{_slug(row['method'])}.{row['metric']}": row["value"] for row in rows if row["value"] is not None}
        mlflow.log_metrics({"grids": board.grids, "generated_frames": board.frames, **values})
        columns = ("method", "metric", "value", "unit", "samples", "frames", "standard_error", "reason")
        mlflow.log_table({column: [row[column] for row in rows] for column in columns}, "scores.json")
        mlflow.log_artifacts(str(folder))
    return tracking.run_address(run_id)


def _entry(pair: Pair) -> Entry:
    given = [(v, t) for v in range(pair.given.shape[0]) for t in range(pair.given.shape[1]) if pair.given[v, t]]
    meta = pair.prediction.meta
    panels = [
        panel_of_frames("reference", pair.reference),
        panel_of_frames("generated", pair.prediction.frames, given, facts(meta)),
    ]
    baselines = baseline_frames(pair)
    if _SHOWN_BASELINE in baselines:
        panels.append(panel_of_frames(f"{_SHOWN_BASELINE} (baseline)", baselines[_SHOWN_BASELINE], given))
    return Entry(meta, panels)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower())


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
