"""MLflow: where runs are recorded, and the server that shows them.

The address is MLFLOW_TRACKING_URI, or else an SQLite file under `outputs/` in the working directory.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from fourreal.platform.redaction import redact, redact_fields

DEFAULT_FOLDER = Path("outputs/mlflow")
DEFAULT_PORT = 5000
_PARAMETER_LENGTH = 500  # MLflow refuses longer ones


def tracking_uri() -> str:
    """Address of the tracking server or store."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return uri
    DEFAULT_FOLDER.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{DEFAULT_FOLDER.absolute()}/mlflow.db"


@contextmanager
def run(
    experiment: str,
    name: str,
    parameters: Mapping[str, Any],
    *,
    run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Record what happens in the block as one MLflow run; yields its id.

    Give the `run_id` of an earlier block to go on with that run after a restart. Nested parameters are
    flattened (`flow.steps`). An exception marks the run as failed and goes on. No secret is recorded (see `redaction`).
    """
    mlflow = client()
    _use_experiment(experiment)
    shown_name = None if run_id else redact(name)
    with mlflow.start_run(run_id=run_id, run_name=shown_name, tags=redact_fields(tags or {})) as active:
        if run_id is None:
            mlflow.log_params({k: v[:_PARAMETER_LENGTH] for k, v in redact_fields(flatten(parameters)).items()})
        yield str(active.info.run_id)


def client() -> Any:
    """The `mlflow` module, pointed at the tracking store."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    mlflow.set_tracking_uri(tracking_uri())
    return mlflow


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one flat one with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def log_datasets(sha256_by_uri: Mapping[str, str], context: str, *, run_id: str) -> None:
    """Note that a run read or made the shards at these addresses; runs with the same sha256 are about the same bytes.

    MLflow keeps 36 characters of a digest; the tag `fourreal.CONTEXT_sha256` holds all of them whole, for searches.
    """
    mlflow = client()
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource, S3ArtifactDatasetSource
    from mlflow.entities import DatasetInput, InputTag

    inputs = []
    for uri, digest in sha256_by_uri.items():
        source = (S3ArtifactDatasetSource if uri.startswith("s3://") else LocalArtifactDatasetSource)(uri)
        dataset = MetaDataset(source, name=uri.rstrip("/").rsplit("/", 1)[-1], digest=digest[:32])
        inputs.append(DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", context)]))
    runs = mlflow.MlflowClient()
    runs.log_inputs(run_id, inputs)
    runs.set_tag(run_id, f"fourreal.{context}_sha256", " ".join(sha256_by_uri.values()))


def compare_address(run_ids: Sequence[str]) -> str:
    """The page that shows these runs side by side: parallel coordinates, scatter and box plots, parameters."""
    experiments = sorted({client().get_run(run_id).info.experiment_id for run_id in run_ids})
    uri = tracking_uri()
    server = uri.rstrip("/") if uri.startswith("http") else f"http://127.0.0.1:{DEFAULT_PORT}"
    where = f"{redact(server)}/#/compare-runs?runs={_query(run_ids)}&experiments={_query(experiments)}"
    return where if uri.startswith("http") else f"{where} (once `make ui` serves it)"


def run_address(run_id: str) -> str:
    """Where a person finds the run: its page on the server, or how to open the local store."""
    uri = tracking_uri()
    if uri.startswith("http"):
        experiment_id = client().get_run(run_id).info.experiment_id
        return f"{redact(uri).rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
    return f"run {run_id} in {redact(uri)} (`make ui` shows it)"


def server_command(port: int, folder: Path = DEFAULT_FOLDER) -> list[str]:
    """The command that serves the default store on loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    store = f"sqlite:///{folder.absolute()}/mlflow.db"
    artifacts = str((folder / "artifacts").absolute())
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *address,
        "--backend-store-uri",
        store,
        "--artifacts-destination",
        artifacts,
    ]


def serve(port: int) -> NoReturn:
    """Become the server of the default store, in the foreground: what stops this process stops the server."""
    print(f"MLflow: http://127.0.0.1:{port}  (Ctrl-C stops it)", flush=True)
    command = server_command(port)
    os.execve(command[0], command, {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"})


def _query(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")))


def _use_experiment(name: str) -> None:
    mlflow = client()
    if tracking_uri().startswith("sqlite:") and mlflow.get_experiment_by_name(name) is None:
        # Where the server looks too, so that a run recorded without it can be seen with it.
        mlflow.create_experiment(name, artifact_location=(DEFAULT_FOLDER / "artifacts" / name).absolute().as_uri())
    mlflow.set_experiment(name)
