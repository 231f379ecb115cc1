"""`fourreal submit`: run a command as a job on a Ray cluster, follow its log, end with its exit status.

    fourreal submit render --assets s3://... --out s3://...
    fourreal submit --no-wait render ...      # prints the job's id and returns
    fourreal submit --attach ID               # follows it again, and ends with its exit status
    fourreal submit --stop ID                 # cancels it, and returns when it has ended

Where the cluster has no fourreal installed, `--ship source` sends this checkout along. A job lives on the cluster: it
goes on when this process is interrupted or its machine is gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from fourreal.platform.cli import find
from fourreal.platform.config import command
from fourreal.platform.errors import UserError
from fourreal.platform.logs import FORMAT_VARIABLE
from fourreal.platform.redaction import redact
from fourreal.platform.runtime import DASHBOARD_PORT

_LOOK_EVERY_S = 0.5
ROOMS = ("platform", "datagen", "training", "evaluation")
_FORWARDED = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "MLFLOW_TRACKING_URI",
    FORMAT_VARIABLE,
)
"""What a job needs as well. Credentials are not sent: a job's command and environment are visible on the dashboard, and
its workers have those of the cluster."""


@dataclass(frozen=True)
class Config:
    """Run a fourreal command as a job on a Ray cluster, follow its log, end with its exit status.

    Write the command behind the options: `fourreal submit render --assets s3://... --out s3://...`. Paths are those
    of the cluster.
    """

    job: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """The command with its options."""
    attach: str | None = None
    """Follow the job of this id instead of starting one."""
    stop: str | None = None
    """Cancel the job of this id instead of starting one."""
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
    _refuse_secret(" ".join(job), "the command")
    return shlex.join(["python", "-m", found.module, *job[1:]])


def _refuse_secret(text: str, where: str) -> None:
    """A job's command and environment can be read by all who can see the dashboard."""
    if redact(text) != text:
        raise UserError(
            f"{where} holds a password or another secret, which everyone would see on the dashboard: leave it out, and "
            "give it to the cluster's machines (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for MLflow)"
        )


def runtime_env(ship: str, folder: Path) -> dict[str, Any]:
    """Ray's runtime environment for the job. Raises UserError when there is no source to ship in `folder`."""
    variables = {name: os.environ[name] for name in _FORWARDED if name in os.environ}
    for name, value in variables.items():
        _refuse_secret(value, name)
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
    """Submit, attach or stop; follow the log unless told not to; return the job's exit status."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if sum([bool(config.job), config.attach is not None, config.stop is not None]) > 1:
        raise UserError("give one of a command to run, --attach ID and --stop ID")
    if config.stop is not None:
        return _stop(_client(config.address), config.stop)
    if config.attach is not None:
        return _follow_to_the_end(_client(config.address), config.attach)
    command_line = entrypoint(config.job)
    if "MLFLOW_TRACKING_URI" not in os.environ:
        print("note: MLFLOW_TRACKING_URI is not set, so what the job records stays in its folder on the cluster")
    environment = runtime_env(config.ship, Path.cwd())
    client = _client(config.address)
    job_id = client.submit_job(entrypoint=command_line, runtime_env=environment)
    print(f"job {job_id}: {command_line}", flush=True)
    if not config.wait:
        print(f"  fourreal submit --address {config.address} --attach {job_id} follows it; --stop {job_id} cancels it")
        return 0
    return _follow_to_the_end(client, job_id)


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(
            f"no Ray job server answers at {address} ({error}): start one with `fourreal cluster start`"
        ) from None


def _info(client: Any, job_id: str) -> Any:
    """What the cluster knows of the job. Raises UserError when it knows of none."""
    try:
        return client.get_job_info(job_id)
    except RuntimeError as error:
        if "404" not in str(error) and "does not exist" not in str(error):
            raise
        known = ", ".join(job.submission_id for job in client.list_jobs() if job.submission_id) or "none"
        raise UserError(f"the cluster knows no job {job_id}: known are {known}") from None


def _stop(client: Any, job_id: str) -> int:
    """Cancel the job and wait until it has ended; returns 0 when it was this that ended it."""
    from ray.job_submission import JobStatus

    if _info(client, job_id).status.is_terminal():
        print(f"job {job_id} had ended already: {client.get_job_status(job_id)}")
        return 0
    client.stop_job(job_id)
    while not client.get_job_status(job_id).is_terminal():
        time.sleep(_LOOK_EVERY_S)
    status = client.get_job_status(job_id)
    print(f"job {job_id} {status}")
    return 0 if status == JobStatus.STOPPED else 1


def _follow_to_the_end(client: Any, job_id: str) -> int:
    """Print the job's log from its beginning until it ends; returns its exit status."""
    import aiohttp
    from ray.job_submission import JobStatus

    _info(client, job_id)
    try:
        asyncio.run(_follow(client, job_id))
        while not (info := client.get_job_info(job_id)).status.is_terminal():
            time.sleep(_LOOK_EVERY_S)  # the log may end a moment before the job does
    except KeyboardInterrupt:
        print(f"\njob {job_id} goes on: --attach {job_id} follows it again, --stop {job_id} cancels it")
        return 130
    except (RuntimeError, OSError, aiohttp.ClientError) as error:  # what Ray's client raises of a connection that ends
        raise UserError(
            f"the cluster no longer answers ({error}), where job {job_id} may go on: --attach {job_id} follows it again"
        ) from None
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
    attach: str | None = None
    stop: str | None = None


if __name__ == "__main__":
    raise SystemExit(main())
