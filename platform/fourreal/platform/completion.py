"""`fourreal completion SHELL`: a script that makes the shell complete commands and their options."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from fourreal.platform.cli import COMMANDS
from fourreal.platform.config import command


@dataclass(frozen=True)
class Config:
    """Print a completion script. For bash: `eval "$(fourreal completion bash)"`, or into a file that bash reads."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Shell that is to complete."""


def run(config: Config) -> None:
    """Print the script, of the commands whose packages are installed."""
    configurations: dict[str, Any] = {}
    for group in COMMANDS.values():
        for name, entry in group.items():
            try:
                configurations[name] = importlib.import_module(entry.module).Config
            except ModuleNotFoundError:
                continue
    try:
        tyro.extras.subcommand_cli_from_dict(
            configurations, prog="fourreal", args=["--tyro-print-completion", config.shell]
        )
    except SystemExit as printed:
        if printed.code:
            raise


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, run, argv, prog="fourreal completion")


if __name__ == "__main__":
    raise SystemExit(main())
