"""`fourreal evaluate`: score generated grids beside baselines that learn nothing.

fourreal evaluate --predictions outputs/demo/generated --references outputs/demo/held-out
fourreal evaluate --predictions GENERATED --references DIR --protocol 4real-video --workers 8
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fourreal.evaluation.grid_scores import METHODS, MODEL
from fourreal.evaluation.pairing import pair_up
from fourreal.evaluation.pictures import write_pictures, write_plot
from fourreal.evaluation.protocol import Protocol
from fourreal.evaluation.records import Recorded, record, register, rows_of
from fourreal.evaluation.report import Intervals, protocol_table, table
from fourreal.evaluation.scoring import Scoreboard
from fourreal.evaluation.scoring_job import score_folder
from fourreal.evaluation.scoring_options import ScoringOptions
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.significance import interval
from fourreal.platform.config import as_document, as_yaml, command
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Config(ScoringOptions):
    """Compare generated grids with the true ones, over the frames that were generated."""

    predictions: str
    """Folder of generated shards (the --out of `fourreal generate`)."""
    references: str
    """Folder of the true grids; pairs are found by key."""
    out: str | None = None
    """Folder for table, scores, pictures and page (default: `evaluation` inside the predictions)."""
    shown: int = 16
    """Most grids on the page; contact sheet and videos show the first four."""
    register: str | None = None
    """Put the model of --model under this name into MLflow's registry, with its scores."""
    model: str | None = None
    """Folder of the exported model that made the predictions; only with --register."""
    dry_run: bool = False
    """Check settings and folders, print what would be compared, and score nothing."""


@dataclass(frozen=True)
class Evaluation:
    """What came of it: the scores, and where they lie."""

    board: Scoreboard
    out: str
    recorded: Recorded


def run(config: Config) -> None:
    """Score, print, write and record. Raises UserError when no grid can be compared."""
    if config.dry_run:
        _tell(config)
    else:
        evaluate(config)


def evaluate(config: Config) -> Evaluation:
    """Like `run`, with the result."""
    _check(config)
    protocol, job = config.table, config.job(config.predictions, config.references)
    job.choose()  # an unknown metric stops here
    out = Storage(_out(config))
    out.check_writable()
    board = score_folder(job, config.workers)
    intervals = _intervals(board, config)
    text = table(board)
    if protocol:
        text = f"{protocol_table(protocol, board, intervals)}\n{text}"
    print(text)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_files(folder, config, board, intervals, protocol, text)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            out.write_file(path.relative_to(folder).as_posix(), path)
        recorded = _record(folder, config, board)
    print(f"scores and pictures: {out.uri}\npage: {out.path('page.html')}\nMLflow: {recorded.run}")
    print(f"compare the rows: {recorded.comparison}")
    if config.register and config.model:
        row = rows_of(board, {MODEL: MODEL})[0]
        version = register(config.register, config.model, board, row, recorded)
        print(f"registered: model {config.register!r}, version {version}")
    return Evaluation(board, out.uri, recorded)


def _tell(config: Config) -> None:
    """What would be compared. Raises UserError for what stops an evaluation before any work."""
    _check(config)
    metrics = config.job(config.predictions, config.references).choose()
    predictions, references = (set(Shelf(Storage(uri)).keys) for uri in (config.predictions, config.references))
    rows = [
        ("grids", f"{len(predictions)}, of which {len(predictions & references)} have a reference"),
        ("metrics", ", ".join(metric.name for metric in metrics)),
        ("where", _out(config)),
    ]
    print("evaluate: a dry run, nothing was scored or written")
    for label, value in rows:
        print(f"  {label:<12}{value}")


def _out(config: Config) -> str:
    return config.out or f"{config.predictions.rstrip('/')}/evaluation"


def _check(config: Config) -> None:
    if config.shown < 1:
        raise UserError(f"--shown must be at least 1, not {config.shown}")
    if (config.register is None) != (config.model is None):
        raise UserError("--register NAME and --model FOLDER go together: give both or neither")
    if config.model:
        from fourreal.evaluation.exported import model_sha256

        model_sha256(config.model)  # a folder that holds no model stops here


def _intervals(board: Scoreboard, config: Config) -> Intervals:
    """Of every method's means, and of the model's distances between sets, which take their time."""
    if not config.resamples:
        return {}
    return {
        (method, metric.name): interval(
            metric, board.tallies[method, metric.name], board.sources, config.resamples, config.seed
        )
        for metric in board.metrics
        for method in METHODS
        if board.score(method, metric).value is not None
        and (method == MODEL or board.score(method, metric).items is None)
    }


def _write_files(
    folder: Path, config: Config, board: Scoreboard, intervals: Intervals, protocol: Protocol | None, text: str
) -> None:
    (folder / "metrics.json").write_text(
        json.dumps(_document(config, board, intervals, protocol), indent=1, allow_nan=False)
    )
    (folder / "samples.json").write_text(json.dumps(board.samples(), indent=1, allow_nan=False))
    (folder / "table.txt").write_text(text)
    (folder / "config.yaml").write_text(as_yaml(config))
    predictions, references = Shelf(Storage(config.predictions)), Shelf(Storage(config.references))
    write_pictures(folder, pair_up(predictions, references), config.shown)
    write_plot(folder / "scores.png", board, intervals)


def _document(config: Config, board: Scoreboard, intervals: Intervals, protocol: Protocol | None) -> dict[str, Any]:
    rows = board.rows()
    for row in rows:
        found = intervals.get((row["method"], row["metric"]))
        row["interval_95"] = None if found is None else [found.low, found.high]
    return {
        "schema_version": SCHEMA_VERSION,
        "predictions": config.predictions,
        "references": config.references,
        "grids": board.grids,
        "sources": board.source_count,
        "generated_frames": board.frames,
        "resolution": dict(board.resolutions),
        "fps": dict(board.fps),
        "model_sha256": sorted(board.models),
        "reference_fits": dict(board.fits),
        "not_compared": board.not_compared,
        "protocol": None if protocol is None else {**asdict(protocol), "deviations": protocol.deviations(board)},
        "metrics": {
            metric.name: {
                "definition": metric.definition,
                "unit": metric.unit,
                "higher_is_better": metric.higher_is_better,
                "ideal": metric.ideal,
                "weights_sha256": board.weights.get(metric.name, {}),
                "needs": sorted(metric.needs),
            }
            for metric in board.metrics
        },
        "scores": rows,
    }


def _record(folder: Path, config: Config, board: Scoreboard) -> Recorded:
    name = f"evaluate {config.predictions.rstrip('/').rsplit('/', 1)[-1]}"
    tags = {"model_sha256": ", ".join(sorted(board.models))[:500], "fourreal.protocol": config.protocol or "none"}
    datasets = [(config.predictions, "predictions"), (config.references, "references")]
    return record(folder, name, as_document(config), rows_of(board, {m: m for m in METHODS}), datasets, tags)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
