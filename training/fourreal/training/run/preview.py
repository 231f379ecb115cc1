"""What stages would do, without a worker, a file or a run in MLflow: `fourreal train --dry-run`."""

from __future__ import annotations

from collections.abc import Mapping

from fourreal.platform.shards import require_shards
from fourreal.platform.storage import Storage
from fourreal.training.run.launch import record_of
from fourreal.training.run.preflight import check_room, reckon
from fourreal.training.settings.config import Config
from fourreal.training.stage.exports import MODEL_FOLDER
from fourreal.training.stage.settings import StageSettings, stage_settings


def preview(stages: Mapping[str, Config]) -> None:
    """Print what each would do. Raises UserError where the run would before its first step.

    A stage that starts from the model of one before it, which is not there yet, is known by its settings alone.
    """
    made: set[str] = set()
    for name, config in stages.items():
        title = f"train {name or config.stage}"
        if config.start_from in made and not Storage(config.start_from).child(MODEL_FOLDER).list():
            print(f"{title}: a dry run; what it starts from, {config.start_from}, is made by the stage before")
        else:
            settings = stage_settings(config)
            record_of(settings)  # refuses the folder of another run
            check_room(settings)
            print(f"{title}: a dry run, nothing was made or written")
            for label, value in _rows(settings):
                print(f"  {label:<12}{value}")
        made.add(config.out)


def _rows(settings: StageSettings) -> list[tuple[str, str]]:
    need = reckon(settings)
    rows = [("starts from", settings.start_from)] if settings.start_from else []
    rows.append(("fits", f"{need.trained / 1e6:.2f} M of the {need.parameters / 1e6:.2f} M parameters"))
    for folder, weight in zip(settings.data.folders, settings.data.weights, strict=True):
        grids = sum(len(record.keys) for record in require_shards(Storage(folder)))
        share = weight / sum(settings.data.weights)
        rows.append(("data", f"{folder}: {grids} grids, {share:.0%} of the samples"))
    for bucket in settings.data.buckets:
        shape = f"{bucket.views} views x {bucket.times} times x {bucket.height} x {bucket.width}"
        what = "grids" if bucket.stage == "grid" else "sequences"
        rows.append(("a step", f"{settings.workers} workers x {bucket.batch_size} {what} of {shape}"))
    disk = (settings.checkpoints.keep + 1) * need.checkpoint + need.export
    rows += [
        ("steps", f"{settings.steps}"),
        ("needs", f"at least {need.worker / 1e9:.2f} GB of memory a worker, {disk / 1e9:.2f} GB of disk"),
        ("model", f"{settings.out}/{MODEL_FOLDER}"),
    ]
    return rows
