"""Evaluations in MLflow: one run with the files, a run below it for each row of the table, and the models' registry.

Runs find each other by tags: `model_sha256` (the training run that exported the model, the generation run that used
it, this run), `fourreal.predictions_sha256` and `fourreal.references_sha256` (the sets of shards, whose job's run has
`fourreal.made_sha256`), and by MLflow's dataset inputs, which show the same.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fourreal.evaluation.scoring import Scoreboard
from fourreal.platform import tracking
from fourreal.platform.errors import UserError
from fourreal.platform.shards import list_shards, shards_sha256
from fourreal.platform.storage import Storage

EXPERIMENT = "evaluation"
_TAG_LENGTH = 500


@dataclass(frozen=True)
class Row:
    """A line of the table as a run of its own: its values by metric, and what else tells it from the others."""

    name: str
    values: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Recorded:
    """Where an evaluation is found."""

    run_id: str
    run: str
    """Its page."""
    comparison: str
    """The page that shows its rows side by side."""


def rows_of(board: Scoreboard, names: Mapping[str, str]) -> list[Row]:
    """The board's methods (of `names`, with what they are called there) as rows."""
    rows = []
    for method, name in names.items():
        scores = {metric.name: board.score(method, metric) for metric in board.metrics}
        values = {metric: score.value for metric, score in scores.items() if score.value is not None}
        counts = {f"{metric}.n": float(scores[metric].samples) for metric in values}
        weights = {f"weights.{name}": _joined(digests.values()) for name, digests in board.weights.items() if digests}
        tags = {"fourreal.method": name, "model_sha256": _joined(board.models), **weights}
        rows.append(Row(name, {**values, **counts, "grids": float(board.grids)}, tags))
    return rows


def record(
    folder: Path,
    name: str,
    parameters: Mapping[str, Any],
    rows: Sequence[Row],
    datasets: Sequence[tuple[str, str]],
    tags: Mapping[str, str],
) -> Recorded:
    """One run with the files of `folder`, its rows below it; datasets: (address, context) of the shards it read."""
    with tracking.run(EXPERIMENT, name, parameters, tags={"fourreal.job": "evaluate", **tags}) as run_id:
        for uri, context in datasets:
            tracking.log_datasets({uri: shards_sha256(list_shards(Storage(uri)))}, context, run_id=run_id)
        mlflow = tracking.client()
        mlflow.log_metrics(
            {f"{slug(row.name)}.{metric}": value for row in rows for metric, value in row.values.items()}
        )
        mlflow.log_artifacts(str(folder))
        below = [_record_row(row, run_id) for row in rows]
    return Recorded(run_id, tracking.run_address(run_id), tracking.compare_address(below))


def register(name: str, model: str, board: Scoreboard, row: Row, recorded: Recorded) -> str:
    """Put the exported model into the registry, its scores as tags and as a table to read; returns the version.

    A version with the same weights gets the new scores. Raises UserError when the predictions are another model's.
    """
    from fourreal.evaluation.exported import model_sha256, model_storage

    digest = model_sha256(model)
    if set(board.models) != {digest}:
        raise UserError(f"the predictions are of model {_joined(board.models)[:80]}, {model} is {digest[:12]}")
    mlflow = tracking.client()
    registry = mlflow.MlflowClient()
    tags = {metric: f"{value:.6g}" for metric, value in row.values.items()}
    tags |= {"model_sha256": digest, "evaluation_run": recorded.run_id, **row.tags}
    if not registry.search_registered_models(f"name = '{name}'"):
        registry.create_registered_model(
            name, description="Exported models with what `fourreal evaluate` says of them."
        )
    for version in registry.search_model_versions(f"name = '{name}'"):
        if version.tags.get("model_sha256") == digest:
            for key, value in tags.items():
                registry.set_model_version_tag(name, version.version, key, value)
            registry.update_model_version(name, version.version, description=_table(row))
            return str(version.version)
    with tempfile.TemporaryDirectory() as scratch:
        storage = model_storage(model)
        for entry in storage.list():
            (Path(scratch) / entry.path).write_bytes(storage.read(entry.path))
        registry.log_artifacts(recorded.run_id, scratch, "model")
    source = f"{registry.get_run(recorded.run_id).info.artifact_uri}/model"
    version = registry.create_model_version(name, source, recorded.run_id, tags, description=_table(row))
    return str(version.version)


def _table(row: Row) -> str:
    """The row's scores in Markdown, each with the number of samples it is over."""
    scores = [metric for metric in row.values if f"{metric}.n" in row.values]
    lines = [f"| {metric} | {row.values[metric]:.4g} | {row.values[f'{metric}.n']:.0f} |" for metric in scores]
    return "\n".join(["| metric | value | N |", "|---|---|---|", *lines])


def slug(text: str) -> str:
    """As MLflow takes it in names."""
    return re.sub(r"[^a-z0-9_.-]+", "_", text.lower())


def _record_row(row: Row, parent: str) -> str:
    mlflow = tracking.client()
    from mlflow.entities import Metric

    runs = mlflow.MlflowClient()
    experiment = runs.get_run(parent).info.experiment_id
    tags = {"mlflow.parentRunId": parent, "fourreal.job": "evaluate-row", **row.tags}
    run_id = str(runs.create_run(experiment, tags=tags, run_name=row.name).info.run_id)
    now_ms = int(time.time() * 1000)
    runs.log_batch(run_id, [Metric(metric, value, now_ms, 0) for metric, value in row.values.items()])
    runs.set_terminated(run_id)
    return run_id


def _joined(texts: Any) -> str:
    return ", ".join(sorted(texts))[:_TAG_LENGTH]
