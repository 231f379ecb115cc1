"""What a data job would cost: a few of its items are done for real, thrown away, and reckoned up."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fourreal.platform.datajob.job import DataJob, work_off
from fourreal.platform.datajob.progress import duration
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage


@dataclass(frozen=True)
class Estimate:
    """The whole job, reckoned from `tried` of its `items`."""

    items: int
    tried: int
    quarantined: Mapping[str, int]
    """Of those tried, by reason."""
    work_s_per_item: float
    """Time of one worker (one core), the start of its tools included, so rather too much."""
    size_bytes_per_item: float

    @property
    def core_hours(self) -> float:
        """Work of the whole job."""
        return self.items * self.work_s_per_item / 3600

    @property
    def size_bytes(self) -> float:
        """Size of all shards."""
        return self.items * self.size_bytes_per_item

    def print_table(self, name: str) -> None:
        """Print it for the person who decides whether to run the job."""
        refused = sum(self.quarantined.values())
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.quarantined.items()))
        rows = [
            ("tried", f"{self.tried} of {self.items} items, spread over all; nothing was kept"),
            ("quarantined", f"{refused} of {self.tried}" + (f" ({reasons})" if reasons else "")),
            ("an item", f"{self.work_s_per_item:.2f} core-seconds, {self.size_bytes_per_item / 1e6:.2f} MB"),
            ("all", f"{self.core_hours:.3g} core-hours, {self.size_bytes / 1e9:.3g} GB"),
            *((f"  on {cores} cores", duration(3600 * self.core_hours / cores)) for cores in (2, 16, 128, 1024)),
        ]
        print(f"{name}: an estimate")
        for label, value in rows:
            print(f"  {label:<24}{value}")


def estimate_data_job(job: DataJob, limit: int) -> Estimate:
    """Do `limit` items, evenly spread over the job's, in a folder beside its output that is deleted again.

    Neither plan nor shards of the job are touched. Raises UserError when there is nothing to do.
    """
    if limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}")
    items = list(job.list_items())
    sample = [items[i] for i in sorted({round(x) for x in np.linspace(0, len(items) - 1, min(limit, len(items)))})]
    folder = f"estimate-{uuid.uuid4().hex[:8]}"
    out = Storage(job.out)
    try:
        trial = replace(job, out=out.child(folder).uri, list_items=lambda: sample, items_per_shard=1)
        summary = work_off(trial)
    finally:
        out.delete_folder(folder)
    return Estimate(
        items=len(items),
        tried=len(sample),
        quarantined=summary.quarantined,
        work_s_per_item=summary.busy_s / len(sample),
        size_bytes_per_item=summary.size_bytes / len(sample),
    )
