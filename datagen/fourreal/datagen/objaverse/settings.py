"""What to take out of Objaverse, and how to download it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

from fourreal.platform.errors import UserError

FIRST, XL = "objaverse", "objaverse-xl"
SETS = (FIRST, XL)
"""What --assets calls Objaverse 1.0 and Objaverse-XL."""


@dataclass(frozen=True)
class Selection:
    """Which Objaverse objects; each filter that is set takes away. Only for --assets objaverse and objaverse-xl."""

    min_animations: int = 1
    """Fewest animations; an XL object of which it is not known passes, and is judged when it is opened."""
    licences: tuple[str, ...] = ()
    """Licences, as Objaverse (by, by-sa, cc0) or SPDX (CC-BY-4.0, MIT) writes them; all by default."""
    tags: tuple[str, ...] = ()
    """At least one of these tags, in any case."""
    lvis_categories: tuple[str, ...] = ()
    """At least one of these LVIS categories, in any case."""
    uids_file: str | None = None
    """Text file of uids, one a line."""
    sample: int | None = None
    """A random subset of this many, drawn by --seed; a larger one holds the smaller."""
    split: Literal["all", "train", "held-out"] = "all"
    """One side of a split by uid, which nothing but the share below moves."""
    held_out_share: float = 0.02
    """Share of the held-out side."""

    def __post_init__(self) -> None:
        if self.min_animations < 0:
            raise UserError(f"--objaverse.min-animations must be 0 or more, not {self.min_animations}")
        if self.sample is not None and self.sample < 1:
            raise UserError(f"--objaverse.sample must be at least 1, not {self.sample}")
        if not 0.0 <= self.held_out_share <= 1.0:
            raise UserError(f"--objaverse.held-out-share must be between 0 and 1, not {self.held_out_share}")


def _default_url() -> str:
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


@dataclass(frozen=True)
class Downloads:
    """How Objaverse files come here; nothing of this decides what is rendered."""

    cache: str = "~/.objaverse"
    """Local folder of downloaded files, laid out as the package `objaverse` does; shared by a cluster if it can be."""
    url: str = field(default_factory=_default_url)
    """Server that has Objaverse's repositories, or a mirror of it; by default HF_ENDPOINT."""
    parallel: int = 16
    """Files downloaded at a time, by all workers together."""
    ahead: int = 2
    """Shards of each worker that are downloaded while it renders another."""
    attempts: int = 5
    """How often a download is tried whose failure may pass by itself."""
    backoff_s: float = 1.0
    """Longest wait before the second attempt; it doubles from one to the next, up to a minute."""
    connect_timeout_s: float = 10.0
    """Time to reach the server."""
    read_timeout_s: float = 30.0
    """Longest silence of the server."""
    stall_window_s: float = 30.0
    """Time over which the rate is measured."""
    min_bytes_per_s: int = 8192
    """Slower than this over that time, a download is given up and tried again."""
    timeout_s: float = 900.0
    """Time for one attempt at one file."""
    keep: bool = True
    """Keep files in the cache after their grids are written. Without, one that several shards show may come again."""

    def __post_init__(self) -> None:
        for name in ("parallel", "attempts"):
            if getattr(self, name) < 1:
                raise UserError(f"--download.{name} must be at least 1, not {getattr(self, name)}")
        if min(self.ahead, self.min_bytes_per_s) < 0 or not self.backoff_s >= 0.0:
            raise UserError("--download.ahead, --download.min-bytes-per-s and --download.backoff-s must be 0 or more")
        for name in ("connect_timeout_s", "read_timeout_s", "stall_window_s", "timeout_s"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"--download.{name.replace('_', '-')} must be positive, not {getattr(self, name)}")
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"--download.url is {self.url!r}: write it with http:// or https://")
