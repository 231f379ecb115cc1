"""`fourreal ui`: the MLflow server of this folder, on loopback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from fourreal.platform.config import command
from fourreal.platform.tracking import DEFAULT_PORT, serve


@dataclass(frozen=True)
class Config:
    """Serve the MLflow store of this folder, to compare runs in a browser."""

    port: int = DEFAULT_PORT
    """Port on 127.0.0.1."""


def run(config: Config) -> NoReturn:
    """Serve until interrupted."""
    serve(config.port)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, run, argv, prog="fourreal ui")


if __name__ == "__main__":
    raise SystemExit(main())
