"""Fuzzing for minutes: a process for each target, a table of what was run and found.

    python -m tests.fuzz.run --minutes 5                 # each target in turn
    python -m tests.fuzz.run --minutes 5 glb shard --seed 7

A process that dies (a crash in native code) or hangs counts as a finding as well; its last input stays beside it.
Ends with status 1 when there was a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.fuzz.harness import Fault, Target, execute
from tests.fuzz.targets import TARGETS

HANG_S = 60.0
MEMORY_BYTES = 6 * 2**30
"""Of a target's process: what asks for more has found a bomb."""
_BATCH = 200


def fuzz(target: Target, examples: int, number: int, folder: Path, known: set[str] | None = None) -> int:
    """Run one batch of examples from one seed; returns how many were run. Raises what was found, made small.

    Findings whose place is in `known` are passed over.
    """
    (folder / "in").mkdir(exist_ok=True)
    (folder / "outside").mkdir(exist_ok=True)
    for name in ("secret", "secret.bin", "secret.png"):
        (folder / "outside" / name).write_text("secret")
    executions = 0

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs())
    def once(given_input: Any) -> None:
        nonlocal executions
        executions += 1
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        (folder / "last.txt").write_text(repr(given_input)[:1_000_000])
        try:
            execute(target, given_input, folder / "in")
        except Exception as error:
            if place_of(error) not in (known or set()):
                raise
        finally:
            faulthandler.cancel_dump_traceback_later()

    once()
    return executions


def place_of(error: BaseException) -> str:
    """Kind of an error, and the innermost line of ours that it came through."""
    if isinstance(error, Fault):
        return f"Fault: {str(error)[:80]}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/fourreal/" in f.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {last.filename.rsplit('/fourreal/', 1)[-1]}:{last.lineno} ({last.name})"


def _work(target: Target, minutes: float, first_seed: int, folder: Path) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    faulthandler.enable()
    found: Counter[str] = Counter()
    executions, end, number = 0, time.monotonic() + 60 * minutes, first_seed
    while time.monotonic() < end:
        try:
            executions += fuzz(target, _BATCH, number, folder, set(found))
        except Exception as error:
            executions += _BATCH
            for one in getattr(error, "exceptions", (error,)):
                found[place_of(one)] += 1
                print(f"--- {target.name}, seed {number}", file=sys.stderr)
                one.__notes__ = []  # the whole input, of which `last.txt` has the end
                traceback.print_exception(one, chain=False)
        number += 1
        (folder / "so-far.json").write_text(json.dumps({"executions": executions, "findings": dict(found)}))
    return {"executions": executions, "findings": dict(found)}


def _in_a_process(name: str, minutes: float, first_seed: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.fuzz.run", "--minutes", str(minutes), "--seed", str(first_seed), name]
    done = subprocess.run([*command, "--inside", str(folder)])
    result: dict[str, Any] = {"executions": 0, "findings": {}}
    with contextlib.suppress(OSError, ValueError):
        result = json.loads((folder / "so-far.json").read_text())
    if done.returncode != 0:
        result["findings"][f"the process ended with status {done.returncode}: see {folder / 'last.txt'}"] = 1
    return result


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(sorted(TARGETS))} (default: all)")
    parser.add_argument("--minutes", type=float, default=5.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="of the first batch; others follow")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        _work(TARGETS[options.targets[0]], options.minutes, options.seed, options.inside)
        return 0
    results = {}
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}: known are {', '.join(sorted(TARGETS))}")
    for name in options.targets or sorted(TARGETS):
        folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
        results[name] = _in_a_process(name, options.minutes, options.seed, folder)
    print(f"{'target':<12}{'executions':>12}{'findings':>10}")
    for name, result in results.items():
        print(f"{name:<12}{result['executions']:>12}{len(result['findings']):>10}")
        for place in result["findings"]:
            print(f"    {place}")
    return 1 if any(result["findings"] for result in results.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
