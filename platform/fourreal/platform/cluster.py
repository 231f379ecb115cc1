"""`fourreal cluster start|stop`: Ray on this machine, on loopback, with token authentication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from fourreal.platform.config import command
from fourreal.platform.runtime import DASHBOARD_PORT, start_head, stop_head


@dataclass(frozen=True)
class Config:
    """Start or stop Ray on this machine, to submit jobs to; everything on loopback, token authentication on."""

    action: Annotated[Literal["start", "stop"], tyro.conf.Positional]
    """What to do."""
    cpus: int | None = None
    """Cores that jobs may use; all by default."""
    port: int = DASHBOARD_PORT
    """Port of the job server and dashboard."""


def run(config: Config) -> None:
    """Start or stop, and say how to go on."""
    if config.action == "stop":
        print("Ray is stopped" if stop_head(config.port) else f"no Ray was started here for port {config.port}")
        return
    address = start_head(config.cpus, config.port)
    print(f"Ray's job server and dashboard: {address}")
    print(f"  fourreal submit --address {address} render --assets ... --out ...")
    print(f"  RAY_AUTH_MODE=token ray job submit --address {address} -- python -m fourreal.datagen.render ...")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, run, argv, prog="fourreal cluster")


if __name__ == "__main__":
    raise SystemExit(main())
