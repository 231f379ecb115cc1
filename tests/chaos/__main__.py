"""`make chaos`: jobs under random kills and storage faults, over and over, held against undisturbed runs.

    python -m tests.chaos --minutes 60 --seed 0 --out outputs/chaos

Every 20 to 60 s one process of the running command (its driver, Ray's raylet, GCS and helpers, workers, Blender) gets
SIGKILL; the S3 server that it reads from and writes to refuses, resets, breaks off, stalls, lists late, loses answers
and lets credentials expire. A command that ends is started again until it succeeds. Then its shards, or its model,
must be those of the undisturbed run, and none of its processes may be left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.jobs import DATA_JOBS, JOBS, Setting
from tests.chaos.supervisor import Attempts, supervise
from tests.chaos.torment import Killer, Weather
from tests.faulty_s3 import FaultyS3, serving

BUCKET = "chaos-bucket"
_RETRIES = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when nothing was lost, doubled, changed or left behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long processes are killed")
    parser.add_argument("--seed", type=int, default=0, help="of the kills and the faults")
    parser.add_argument("--every", type=float, nargs=2, default=(20.0, 60.0), help="seconds from one kill to the next")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="what is run")
    parser.add_argument("--scale", type=int, default=8, help="how much work each job has")
    parser.add_argument("--out", type=Path, default=Path("outputs/chaos"), help="folder for all of it")
    arguments = parser.parse_args(argv)
    arguments.out = arguments.out.absolute()
    arguments.out.mkdir(parents=True, exist_ok=True)
    store, report = FaultyS3(), dict[str, Any]()
    with serving(store) as address:
        for report in _runs(arguments, store, address):
            (arguments.out / "report.json").write_text(json.dumps(report, indent=1))
    _print(report)
    print(f"report: {arguments.out / 'report.json'}")
    return 0 if report["passed"] else 1


def _runs(arguments: argparse.Namespace, store: FaultyS3, address: str) -> Iterator[dict[str, Any]]:
    """One job after the other; gives the report of all so far after each."""
    os.environ |= {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    import boto3

    boto3.client("s3").create_bucket(Bucket=BUCKET)
    rng = random.Random(arguments.seed)
    setting = Setting(arguments.out, f"s3://{BUCKET}", arguments.scale)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_TRAIN_V2_ENABLED": "1"}
    setting.prepare(environment)
    until = time.monotonic() + 60 * arguments.minutes
    killer = Killer(random.Random(rng.random()), tuple(arguments.every), until)
    killer.start()
    weather = Weather(store, random.Random(rng.random()), until)
    runs: list[dict[str, Any]] = []
    while time.monotonic() < until:
        for job in rng.sample(arguments.jobs, len(arguments.jobs)):
            if time.monotonic() > until:
                return
            runs.append(_torment(setting, job, len(runs), environment, killer, weather))
            yield {
                "minutes": arguments.minutes,
                "seed": arguments.seed,
                "every_s": list(arguments.every),
                "kills": dict(killer.killed),
                "storage_faults": dict(weather.struck),
                "requests": store.requests,
                "runs": runs,
                "passed": not any(_faults(run) for run in runs),
            }


def _torment(
    setting: Setting, job: str, number: int, environment: dict[str, str], killer: Killer, weather: Weather
) -> dict[str, Any]:
    """Run a job to its end and look at what came of it."""
    out, log = f"{setting.bucket}/{number:03d}-{job}", setting.folder / f"{number:03d}-{job}.log"
    print(f"run {number}: {job}", flush=True)
    kills_before = killer.killed.total()
    attempts = Attempts()
    supervise(setting.command(job, out), environment, log, killer, attempts)
    with weather.pause():  # what the store says now is what it holds
        differences = setting.differences(job, out)
    retries = 0
    while differences and job in DATA_JOBS and retries < _RETRIES and all("quarantine" in line for line in differences):
        retries += 1  # a Blender that was killed once too often with the same item
        supervise([*setting.command(job, out), "--retry-quarantined"], environment, log, killer, attempts)
        with weather.pause():
            differences = setting.differences(job, out)
    run = {"job": job, "kills": killer.killed.total() - kills_before, "retries": retries, "differences": differences}
    print(f"  {attempts.starts} starts, {run['kills']} kills, {len(differences)} differences", flush=True)
    return run | asdict(attempts)


def _faults(run: dict[str, Any]) -> int:
    return len(run["differences"]) + run["hangs"] + len(run["orphans"])


def _print(report: dict[str, Any]) -> None:
    head = ("job", "runs", "starts", "kills", "gave up", "unexplained", "hangs", "orphans", "differences", "hours")
    rows = [head]
    for job in JOBS:
        runs = [run for run in report["runs"] if run["job"] == job]
        ended = sum(count for run in runs for status, count in run["ends"].items() if status not in ("0", "-9"))
        totals = [sum(run[name] for run in runs) for name in ("starts", "kills")]
        rest = [sum(run[name] for run in runs) for name in ("unexplained", "hangs")]
        lists = [sum(len(run[name]) for run in runs) for name in ("orphans", "differences")]
        hours = f"{sum(run['wall_s'] for run in runs) / 3600:.2f}"
        rows.append((job, *map(str, [len(runs), *totals, ended, *rest, *lists]), hours))
    for row in rows:
        print("  ".join(f"{cell:>14}" if i else f"{cell:<12}" for i, cell in enumerate(row)))
    print("kills: " + ", ".join(f"{count} {kind}" for kind, count in sorted(report["kills"].items())))
    print("storage: " + ", ".join(f"{count} {kind}" for kind, count in sorted(report["storage_faults"].items())))
    print("passed" if report["passed"] else "FAILED")


if __name__ == "__main__":
    sys.exit(main())
