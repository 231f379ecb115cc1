"""`fourreal status`: how a data job or a training run stands, from its output folder alone.

fourreal status outputs/rendered
fourreal status s3://bucket/training --json

Neither the job nor its cluster is asked, so a dead one tells as much as a running one. Whether somebody works there is
taken from the note of progress, which is written every few seconds; two minutes after the last one, nobody does.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from fourreal.platform.config import command
from fourreal.platform.datajob.done import find_done
from fourreal.platform.datajob.note import NOTE, parse_note
from fourreal.platform.datajob.plan import Plan, read_plan
from fourreal.platform.datajob.progress import duration
from fourreal.platform.datajob.quarantine import list_quarantine
from fourreal.platform.documents import parse_json
from fourreal.platform.errors import UserError
from fourreal.platform.shards import is_record
from fourreal.platform.storage import FileEntry, Storage

RUN, RESULT, STOPPED, MANIFEST, CHECKPOINT = (
    "run.json",
    "result.json",
    "stopped.json",
    "manifest.json",
    "checkpoints/step-",
)
"""Files by which a training run is known; they are written by the room of training, to which a test compares them."""
SILENT = "no sign of life"
_SILENT_AFTER_S = 120.0
_RECENT_S = 3600.0
"""The rate of a data job is that of its last hour of work."""


@dataclass(frozen=True)
class Config:
    """Tell how a data job or a training run stands, running or dead, from its folder alone."""

    folder: Annotated[str, tyro.conf.Positional]
    """Its --out: a local folder or an s3:// address."""
    json: bool = False
    """Print one JSON document instead of text."""


def status(storage: Storage, now_s: float) -> dict[str, Any]:
    """How the folder stands, as JSON. Raises UserError when it is neither a data job's nor a training run's."""
    plan = read_plan(storage)
    if plan is not None:
        return _of_data_job(storage, plan, now_s)
    names = [entry.path for entry in storage.list(recursive=True)]
    stages = [name.removesuffix(RUN).rstrip("/") for name in names if f"/{name}".endswith(f"/{RUN}")]
    stages = [name for name in stages if CHECKPOINT not in name]
    if not stages:
        raise UserError(
            f"{storage.uri} is the output of no data job (it has no plan) and of no training run (no {RUN}): "
            "give the --out of one"
        )
    return {
        "kind": "training run",
        "folder": storage.uri,
        "stages": [_of_stage(storage.child(name) if name else storage, now_s) for name in stages],
    }


def _of_data_job(storage: Storage, plan: Plan, now_s: float) -> dict[str, Any]:
    done, entries = find_done(storage, plan), storage.list()
    note_entry = next((entry for entry in entries if entry.path == NOTE), None)
    note = parse_note(storage.read(NOTE)) if note_entry else None
    changed_s = sorted(entry.changed_ns / 1e9 for entry in entries if is_record(entry.path))
    silent_s = now_s - max([*changed_s[-1:], *([note_entry.changed_ns / 1e9] if note_entry else [])], default=now_s)
    if note is not None and note.state == "running" and silent_s < _SILENT_AFTER_S:
        state = "running"  # on what was quarantined, where all shards are there
    elif not done.missing:
        state = "done"
    else:
        state = "ended with shards missing" if note is not None and note.state == "ended" else SILENT
    handled = int(plan.sizes[done.shards].sum())
    rate = _rate_per_minute(changed_s, handled / max(done.count, 1))
    left = plan.item_count - handled
    reasons = Counter(record.reason for record in list_quarantine(storage))
    return {
        "kind": "data job",
        "folder": storage.uri,
        "job": plan.job,
        "plan": plan.fingerprint,
        "state": state,
        "last_sign_s": round(silent_s, 1),
        "items": plan.item_count,
        "grids": done.grids,
        "quarantined": dict(reasons.most_common()),
        "shards": done.count,
        "planned_shards": plan.shard_count,
        "size_bytes": done.size_bytes,
        "items_per_minute": None if rate is None else round(rate, 2),
        "left_s": round(60 * left / rate, 1) if rate else None,
        "run": None if note is None else {"host": note.host, "pid": note.pid, "made": note.grids, "todo": note.todo},
    }


def _rate_per_minute(changed_s: Sequence[float], items_per_shard: float) -> float | None:
    """Items a minute from when the records of shards were written; None where fewer than two tell no time."""
    recent = [second for second in changed_s if second > changed_s[-1] - _RECENT_S]
    if len(recent) < 2 or recent[-1] == recent[0]:
        return None
    return 60 * items_per_shard * (len(recent) - 1) / (recent[-1] - recent[0])


def _of_stage(storage: Storage, now_s: float) -> dict[str, Any]:
    entries = {entry.path: entry for entry in storage.list(recursive=True)}
    run, note, result, stopped = (_document(storage, name, entries) for name in (RUN, NOTE, RESULT, STOPPED))
    checkpoints = [entry for path, entry in entries.items() if path.startswith(CHECKPOINT)]
    whole = sorted((e for e in checkpoints if e.path.endswith(f"/{MANIFEST}")), key=lambda entry: entry.path)
    signs = [entry.changed_ns / 1e9 for entry in [entries[RUN], *checkpoints]]
    signs += [entries[name].changed_ns / 1e9 for name in (NOTE, RESULT, STOPPED) if name in entries]
    silent_s = now_s - max(signs)
    if result:
        state = "done"
    elif stopped:
        state = "stopped"
    else:
        state = "running" if silent_s < _SILENT_AFTER_S else SILENT
    last = whole[-1] if whole else None
    return {
        "folder": storage.uri,
        "state": state,
        "reason": stopped.get("reason"),
        "last_sign_s": round(silent_s, 1),
        "step": note.get("step", result.get("steps")),
        "steps": note.get("steps", result.get("steps")),
        "loss": result.get("end_loss", note.get("loss")),
        "samples_per_s": result.get("samples_per_s", note.get("samples_per_s")),
        "left_s": 0.0 if result else note.get("left_s"),
        "checkpoint_step": int(last.path.removeprefix(CHECKPOINT).split("/")[0]) if last else None,
        "checkpoint_age_s": round(now_s - last.changed_ns / 1e9, 1) if last else None,
        "mlflow_run_id": run.get("mlflow_run_id"),
    }


def _document(storage: Storage, name: str, entries: dict[str, FileEntry]) -> dict[str, Any]:
    """A JSON object of the folder; empty where there is none."""
    if name not in entries:
        return {}
    try:
        document = parse_json(storage.read(name))
    except ValueError:
        raise UserError(f"{storage.path(name)} is no JSON: is {storage.uri} the output of `fourreal train`?") from None
    return document if isinstance(document, dict) else {}


def run(config: Config) -> None:
    """Print how the folder stands."""
    document = status(Storage(config.folder), time.time())
    if config.json:
        json.dump(document, sys.stdout, indent=1)
        print()
    elif document["kind"] == "data job":
        _print(f"{document['folder']}: {document['job']}, {document['state']}", _rows_of_data_job(document))
    else:
        for stage in document["stages"]:
            _print(f"{stage['folder']}: training, {stage['state']}", _rows_of_stage(stage))


def _rows_of_data_job(document: dict[str, Any]) -> list[tuple[str, str]]:
    refused = sum(document["quarantined"].values())
    rows = [
        ("items", f"{document['items']} planned, {document['grids']} grids, {refused} quarantined"),
        *((f"  {reason}", str(count)) for reason, count in document["quarantined"].items()),
        ("shards", f"{document['shards']} of {document['planned_shards']}, {document['size_bytes'] / 1e6:.1f} MB"),
        ("last sign", f"{duration(document['last_sign_s'])} ago"),
    ]
    if document["items_per_minute"] is not None:
        rows.append(("rate", f"{document['items_per_minute']:.1f} items a minute in its last hour"))
    if document["run"]:
        rows.append(("last run", "on {host}, process {pid}: {made} grids of {todo} items".format(**document["run"])))
    if document["state"] == "running" and document["left_s"]:
        rows.append(("left", duration(document["left_s"])))
    elif document["state"] not in ("running", "done"):
        rows.append(("to go on", "run the same command again: it makes what is missing"))
    return rows


def _rows_of_stage(stage: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("last sign", f"{duration(stage['last_sign_s'])} ago")]
    if stage["step"] is not None:
        rows.insert(0, ("step", f"{stage['step']} of {stage['steps']}, loss {stage['loss']:.4f}"))
        rows.insert(1, ("rate", f"{stage['samples_per_s']:.1f} samples a second"))
    if stage["checkpoint_step"] is not None:
        rows.append(("checkpoint", f"step {stage['checkpoint_step']}, {duration(stage['checkpoint_age_s'])} ago"))
    elif stage["state"] != "done":
        rows.append(("checkpoint", "none yet"))
    if stage["reason"]:
        rows.append(("stopped", stage["reason"]))
    if stage["state"] == "running" and stage["left_s"]:
        rows.append(("left", duration(stage["left_s"])))
    elif stage["state"] not in ("running", "done"):
        rows.append(("to go on", "run the same command again: it goes on from the checkpoint"))
    rows.append(("MLflow run", str(stage["mlflow_run_id"])))
    return rows


def _print(title: str, rows: Sequence[tuple[str, str]]) -> None:
    print(title)
    for label, value in rows:
        print(f"  {label:<23} {value}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, run, argv, prog="fourreal status")


if __name__ == "__main__":
    raise SystemExit(main())
