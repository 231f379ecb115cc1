"""`fourreal submit`: run a command as a job on a Ray cluster, follow its log, end with its exit status.

Where the cluster has no fourreal installed, `--ship source` sends this checkout along.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from fourreal.platform.cli import find
from fourreal.platform.config import command
from fourreal.platform.errors import UserError
from fourreal.platform.runtime import DASHBOARD_PORT

ROOMS = ("platform", "datagen", "training", "evaluation")
_FORWARDED = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "MLFLOW_TRACKING_URI")
"""Addresses that a job needs as well. Credentials are not sent: a job's environment is visible on the dashboard."""


@dataclass(frozen=True)
class Config:
    """Run a fourreal command as a job on a Ray cluster, follow its log, end with its exit status.

    Write the command behind the options: `fourreal submit render --assets s3://... --out s3://...`. Paths are those
    of the cluster.
    """

    job: Annotated[tuple[str, ...], tyro.conf.Positional]
    """The command with its options."""
    address: str = f"http://127.0.0.1:{DASHBOARD_PORT}"
    """Address of the cluster's job server."""
    ship: Literal["installed", "source"] = "installed"
    """Use the fourreal that the cluster has installed, or send the source of the current directory."""
    wait: bool = True
    """Follow the log until the job ends; without, print its id and return."""


def entrypoint(job: Sequence[str]) -> str:
    """The shell command that runs on the cluster. Raises UserError for an unknown command."""
    import shlex

    found = find(job[0]) if job else None
    if found is None:
        raise UserError("write the command to run behind the options, as in `fourreal submit render --out ...`")
    return shlex.join(["python", "-m", found.module, *job[1:]])


def runtime_env(ship: str, folder: Path) -> dict[str, Any]:
    """Ray's runtime environment for the job. Raises UserError when there is no source to ship in `folder`."""
    variables = {name: os.environ[name] for name in _FORWARDED if name in os.environ}
    if ship == "installed":
        return {"env_vars": variables}
    if not all((folder / room / "fourreal").is_dir() for room in ROOMS):
        raise UserError(f"{folder} is no fourreal checkout: --ship source sends the current directory")
    excludes = [".git", ".venv", "outputs", "tests"]
    return {
        "working_dir": str(folder),
        "excludes": excludes,
        "env_vars": {**variables, "PYTHONPATH": ":".join(ROOMS)},
    }


def run(config: Config) -> int:
    """Submit; follow the log unless told not to; return the job's exit status."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    from ray.job_submission import JobStatus, JobSubmissionClient

    command_line = entrypoint(config.job)
    if "MLFLOW_TRACKING_URI" not in os.environ:
        print("note: MLFLOW_TRACKING_URI is not set, so what the job records stays in its folder on the cluster")
    environment = runtime_env(config.ship, Path.cwd())
    try:
        client = JobSubmissionClient(config.address)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(
            f"no Ray job server answers at {config.address} ({error}): start one with `fourreal cluster start`"
        ) from None
    job_id = client.submit_job(entrypoint=command_line, runtime_env=environment)
    print(f"job {job_id}: {command_line}", flush=True)
    if not config.wait:
        return 0
    asyncio.run(_follow(client, job_id))
    info = client.get_job_info(job_id)
    if info.status == JobStatus.SUCCEEDED:
        return 0
    print(f"job {job_id} {info.status}: {info.message}", file=sys.stderr)
    return int(info.driver_exit_code or 1)


async def _follow(client: Any, job_id: str) -> None:
    async for text in client.tail_job_logs(job_id):
        print(text, end="", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command. What follows the name of the job is the job's."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    own = next((i for i, word in enumerate(arguments) if find(word)), len(arguments))
    if own == len(arguments):
        return command(Config, run, arguments, prog="fourreal submit")
    job = tuple(arguments[own:])
    return command(_Own, lambda options: run(Config(job, **vars(options))), arguments[:own], prog="fourreal submit")


@dataclass(frozen=True)
class _Own:
    """The options of `Config` that stand before the job."""

    address: str = Config.address
    ship: Literal["installed", "source"] = Config.ship
    wait: bool = Config.wait


if __name__ == "__main__":
    raise SystemExit(main())
