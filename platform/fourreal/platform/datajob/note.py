"""The driver's note beside the output: how the job stands, written again and again for as long as the driver lives.

Whoever can read the folder knows from it whether somebody works there: `fourreal status`.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from fourreal.platform.repeating import repeating
from fourreal.platform.storage import Storage

NOTE = "progress.json"
EVERY_S = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobNote:
    """How a run of a data job stands; counts are of this run alone."""

    job: str
    plan: str
    """Fingerprint of the plan."""
    state: Literal["running", "ended"]
    todo: int
    """Items that were left when the run began."""
    grids: int
    quarantined: Mapping[str, int]
    """Items by reason."""
    items_per_minute: float
    left_s: float | None
    """Time to the end at this rate; None before the first item."""
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)


_NOTE = TypeAdapter(JobNote)


@contextmanager
def keeping_note(out: Storage, note: Callable[[Literal["running", "ended"]], JobNote]) -> Iterator[None]:
    """Write what `note` returns, now, every `EVERY_S` seconds, and once more when the block ends in whatever way.

    A note that cannot be written costs the job nothing.
    """

    def write(state: Literal["running", "ended"]) -> None:
        try:
            out.write(NOTE, _NOTE.dump_json(note(state), indent=1))
        except Exception as error:  # each object store has errors of its own
            log.warning("the note of progress cannot be written: %s", error)

    write("running")
    try:
        with repeating(lambda: write("running"), EVERY_S):
            yield
    finally:
        write("ended")


def parse_note(data: bytes) -> JobNote | None:
    """The note in these bytes; None when they are none."""
    try:
        return _NOTE.validate_json(data)
    except ValidationError:
        return None
