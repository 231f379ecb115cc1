"""A data job as an MLflow run, so that training and evaluation lead back to what made their shards."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fourreal.platform import tracking
from fourreal.platform.datajob.summary import JobSummary
from fourreal.platform.shards import list_shards, shards_sha256
from fourreal.platform.storage import Storage

EXPERIMENT = "data"
_LOG = logging.getLogger(__name__)


def record_data_job(name: str, settings: Mapping[str, Any], reads: Sequence[str], summary: JobSummary) -> None:
    """Record a job that is done, what it read and what it made; nothing where MLFLOW_TRACKING_URI names no server.

    The shards are what a data job is for: a server that does not answer costs a warning.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI") or not summary.tried_now or summary.missing_shards:
        return
    try:
        tags = {"fourreal.job": name, **_text(settings, "model_sha256")}
        with tracking.run(
            EXPERIMENT, f"{name} {summary.out.rstrip('/').rsplit('/', 1)[-1]}", settings, tags=tags
        ) as run_id:
            for context, folders in (("read", reads), ("made", (summary.out,))):
                if folders:
                    digests = {folder: shards_sha256(list_shards(Storage(folder))) for folder in folders}
                    tracking.log_datasets(digests, context, run_id=run_id)
            tracking.client().log_metrics(
                {
                    "grids": summary.grids,
                    "quarantined": sum(summary.quarantined.values()),
                    "size_bytes": summary.size_bytes,
                    "wall_s": summary.wall_s,
                    "busy_s": summary.busy_s,
                }
            )
    except Exception as error:
        _LOG.warning("%s is done, and MLflow did not take its record: %s", name, error)


def _text(settings: Mapping[str, Any], name: str) -> dict[str, str]:
    return {name: str(settings[name])} if settings.get(name) else {}
