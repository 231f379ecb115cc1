"""Runs a command until it has done its work, as a person or a service manager would who knows nothing of it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.chaos.family import Family
from tests.chaos.torment import Killer

_LONGEST_ATTEMPT_S = 900.0
_PAUSE_S = 1.0
_GONE_AFTER_S = 300.0
"""Ray's own helpers look for their raylet now and then."""


@dataclass
class Attempts:
    """How often a command was started, and how it ended each time."""

    starts: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    """By exit status; `-9` was killed."""
    sentences: list[str] = field(default_factory=list)
    """What it said at the end when it was not killed and did not succeed."""
    unexplained: int = 0
    """Such ends with a traceback in place of a sentence."""
    hangs: int = 0
    orphans: list[str] = field(default_factory=list)
    """Processes that were still there long after."""
    wall_s: float = 0.0


def supervise(
    command: Sequence[str], environment: Mapping[str, str], log: Path, killer: Killer, attempts: Attempts
) -> None:
    """Start the command again and again until it ends well, keeping count."""
    families, began = list[Family](), time.monotonic()
    status = -1
    while status != 0:
        attempts.starts += 1
        offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=dict(environment), start_new_session=True, cwd=log.parent
            )
        family = Family(psutil.Process(process.pid))
        with family:
            killer.family = family
            try:
                status = process.wait(_LONGEST_ATTEMPT_S)
            except subprocess.TimeoutExpired:
                attempts.hangs += 1
                process.kill()
                status = process.wait()
            killer.family = None
        families.append(family)
        attempts.ends[str(status)] = attempts.ends.get(str(status), 0) + 1
        if status not in (0, -9):
            _note(attempts, log, offset, status)
        if status != 0:
            time.sleep(_PAUSE_S)
    attempts.wall_s += time.monotonic() - began
    for family in families:
        attempts.orphans += _end(family)


def _note(attempts: Attempts, log: Path, offset: int, status: int) -> None:
    """What the command said last."""
    with log.open("rb") as stream:
        stream.seek(max(offset, os.path.getsize(log) - 20_000))
        lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    attempts.sentences.append(f"{status}: {lines[-1][:400] if lines else ''}")
    attempts.unexplained += status not in (1, 2) or any(line.startswith("Traceback") for line in lines[-30:])


def _end(family: Family) -> list[str]:
    """Wait for what is left of an attempt, and end what does not go."""
    found = []
    for process in family.wait_until_gone(_GONE_AFTER_S):
        try:
            found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return found
