"""What a data job works on, how it says no, and who does the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fourreal.platform.errors import shortened
from fourreal.platform.grid import Grid, check_key
from fourreal.platform.shards import Sample


@dataclass(frozen=True)
class Item:
    """One unit of work: it becomes the grid of the same key, or a quarantine record of that name."""

    key: str
    source: str
    """Address of what the grid is made from."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What else the processor needs to know about this item, as JSON: seed, clip, checksum."""
    group: str = ""
    """Neighbours of one group (parts of one file, say) come into one shard where they fit, for one worker to make."""

    def __post_init__(self) -> None:
        check_key(self.key)


class ItemFailure(Exception):
    """Raised by a processor for an item that cannot become a grid; becomes its quarantine record."""

    def __init__(
        self,
        stage: str,
        reason: str,
        message: str,
        *,
        stderr_tail: str = "",
        retryable: bool = False,
        attempts: int = 1,
    ) -> None:
        """`reason` is one word for tables (`no_animation`), `message` one sentence for people.

        `retryable` failures (a timeout, a crash) are tried again before they go to quarantine. `attempts` is more
        than 1 where the raiser tried again by itself.
        """
        message = shortened(message)
        super().__init__(message)
        self.stage = stage
        self.reason = reason
        self.message = message
        self.stderr_tail = stderr_tail
        self.retryable = retryable
        self.attempts = attempts


class Processor(Protocol):
    """Turns items into grids; one lives in each worker process and sees one item at a time."""

    def process(self, item: Item) -> Grid | Sample:
        """Return the grid of this item, with `meta.key == item.key`, or its members. Raises ItemFailure.

        The result must follow from the item and the job's settings alone.
        """
        ...

    def close(self) -> None:
        """Release what the processor holds (child processes, files)."""
        ...
