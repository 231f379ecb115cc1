"""The commands that are run under torment, and how their results are held against an undisturbed run's."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fourreal.platform.datajob import list_quarantine
from fourreal.platform.shards import is_record, list_shards
from fourreal.platform.storage import Storage

GRIDS = ["--views=4", "--times=4", "--height=48", "--width=64", "--workers=2"]
STEPS = 300
DATA_JOBS = ("synthesize", "render")
JOBS = (*DATA_JOBS, "train")


@dataclass(frozen=True)
class Setting:
    """Where a chaos run has its things: a folder here and a bucket there."""

    folder: Path
    bucket: str
    scale: int
    """How much work each job has."""

    def command(self, job: str, out: str) -> list[str]:
        """The command of a job."""
        if job == "synthesize":
            sources = [f"--videos={self.bucket}/videos", "--clips-per-video=4", "--items-per-shard=2", "--stride=2"]
            return _module("datagen.synthesize", *sources, *GRIDS, f"--out={out}")
        if job == "render":
            sources = [f"--assets=procedural:{8 * self.scale}", "--samples=16", "--items-per-shard=2", "--device=cpu"]
            return _module("datagen.render", *sources, *GRIDS, f"--out={out}")
        shape = [f"--steps={STEPS}", "--views=4", "--times=4", "--batch-size=2", "--workers=2", "--model.size=nano"]
        often = ["--checkpoints.every=20", "--loader.cache", str(self.folder / "cache")]
        return _module("training.train", "--data", f"{self.bucket}/data", *shape, *often, f"--out={out}")

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Make videos, and the undisturbed results that others are held against."""
        videos, log = self.folder / "videos", self.folder / "undisturbed.log"
        draw = _module("datagen.sample_videos", f"--out={videos}", f"--count={4 * self.scale}")
        _run([*draw, "--frames=64", "--height=96", "--width=160"], environment, log)
        store = Storage(f"{self.bucket}/videos")
        for path in videos.iterdir():
            store.write(path.name, path.read_bytes())
        store.write("broken.mp4", b"no video")
        for job in JOBS:
            print(f"undisturbed: {job}", flush=True)
            _run(self.command(job, str(self.reference(job))), environment, log)
            if job == "synthesize":
                for entry in Storage(str(self.reference(job))).list():
                    if entry.path.startswith("shard-"):
                        Storage(f"{self.bucket}/data").write_file(entry.path, self.reference(job) / entry.path)

    def reference(self, job: str) -> Path:
        """Where a job's undisturbed result is."""
        return self.folder / "undisturbed" / job

    def differences(self, job: str, out: str) -> list[str]:
        """What of a result is not as it is undisturbed; nothing when all is well."""
        calm, stormy = Storage(str(self.reference(job))), Storage(out)
        return _of_model(calm, stormy) if job == "train" else of_data(calm, stormy)


def of_data(calm: Storage, stormy: Storage) -> list[str]:
    """Differences of two outputs of a data job: shards by their bytes, samples lost or doubled, quarantine."""
    before, after = _shards(calm), _shards(stormy)
    found = [f"{name} is missing" for name in sorted(before.keys() - after.keys())]
    found += [f"{name} is one too many" for name in sorted(after.keys() - before.keys())]
    found += [f"{name} has other bytes" for name in sorted(before.keys() & after.keys()) if before[name] != after[name]]
    keys = [[key for record in list_shards(storage) for key in record.keys] for storage in (calm, stormy)]
    found += [f"{key} is lost" for key in sorted(set(keys[0]) - set(keys[1]))]
    found += [f"{key} is doubled" for key in sorted({key for key in keys[1] if keys[1].count(key) > 1})]
    refused = [{(r.key, r.stage, r.reason) for r in list_quarantine(storage)} for storage in (calm, stormy)]
    found += [f"{key} should be in quarantine ({reason})" for key, _, reason in sorted(refused[0] - refused[1])]
    return found + [f"{key} is in quarantine ({reason})" for key, _, reason in sorted(refused[1] - refused[0])]


def _shards(storage: Storage) -> dict[str, str]:
    names = [entry.path for entry in storage.list() if entry.path.endswith(".tar") or is_record(entry.path)]
    return {name: storage.sha256(name) for name in names}


def _of_model(calm: Storage, stormy: Storage) -> list[str]:
    """Differences of two training runs: a run that lost or doubled a sample has other weights."""
    found = []
    results = [json.loads(storage.read("result.json")) for storage in (calm, stormy)]
    if results[1]["steps"] != STEPS:
        found.append(f"{results[1]['steps']} steps instead of {STEPS}")
    for name in ("skipped_steps", "rollbacks"):
        if results[1][name] != results[0][name]:
            found.append(f"{results[1][name]} {name}")
    sums = [hashlib.sha256(storage.read("model/model.safetensors")).hexdigest() for storage in (calm, stormy)]
    return found if sums[0] == sums[1] else [*found, "the model has other weights"]


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"fourreal.{name}", *arguments]


def _run(command: list[str], environment: Mapping[str, str], log: Path) -> None:
    with log.open("ab") as output:
        subprocess.run(command, check=True, env=dict(environment), stdout=output, stderr=output, cwd=log.parent)
