"""Where a model comes from: which data by fingerprint and licence, which recipe, which code."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fourreal.platform.shards import list_shards
from fourreal.platform.storage import Storage
from fourreal.training.data.latent_cache import source_fingerprint

UNRECORDED = "not recorded"


def provenance(folders: Sequence[str], recipe: str) -> dict[str, Any]:
    """What an export tells of its making, as plain data.

    Only index records are read. A folder's fingerprint is the sha256 over its shards' numbers and sha256s: it is
    another one as soon as a byte of a shard is.
    """
    data = [_of_folder(folder) for folder in folders]
    licences = sorted({licence for entry in data for licence in entry["licences"]})
    code = {"version": version("fourreal"), "commit": _commit()}
    return {"recipe": recipe, "code": code, "data": data, "data_licences": licences}


def _of_folder(folder: str) -> dict[str, Any]:
    storage = Storage(folder)
    records = list_shards(storage)
    licences: Counter[str] = Counter()
    for record in records:
        licences.update(record.licences)
        licences[UNRECORDED] += len(record.keys) - sum(record.licences.values())
    return {
        "folder": folder,
        "fingerprint": source_fingerprint(storage),
        "shards": len(records),
        "grids": sum(len(record.keys) for record in records),
        "licences": {name: count for name, count in sorted(licences.items()) if count},
    }


def _commit() -> str | None:
    """The commit of the code, with a mark when it was changed since; None where it is no checkout."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return f"{commit} and changes" if _git(here, "status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
