"""What a data job would do, without doing any of it."""

from __future__ import annotations

from dataclasses import dataclass

from fourreal.platform.datajob.done import find_done
from fourreal.platform.datajob.job import DataJob, known_plan, new_plan
from fourreal.platform.storage import Storage

_SHOWN = 3


@dataclass(frozen=True)
class Preview:
    """A job's plan against what is there."""

    items: int
    sources: tuple[str, ...]
    """Where the first items come from, a few."""
    shards: int
    done: int
    """Shards that are there already."""
    out: str

    def print_table(self, name: str) -> None:
        """Print it for the person who is about to start the job."""
        more = ", ..." if self.items > len(self.sources) else ""
        rows = [
            ("items", f"{self.items}: {', '.join(self.sources)}{more}"),
            ("shards", f"{self.shards}" + (f", of which {self.done} are there" if self.done else "")),
            ("where", self.out),
        ]
        print(f"{name}: a dry run, nothing was made or written")
        for label, value in rows:
            print(f"  {label:<24}{value}")


def preview_data_job(job: DataJob) -> Preview:
    """Plan the job, or find its plan, and look at what is done; writes nothing.

    Raises UserError where the job would, before any work: other work in `--out`, nothing to do.
    """
    out = Storage(job.out)
    known = known_plan(out, job)
    plan = known or new_plan(out, job)
    return Preview(
        items=plan.item_count,
        sources=tuple(dict.fromkeys(item.source for item in plan.items_of(0)))[:_SHOWN],
        shards=plan.shard_count,
        done=find_done(out, plan).count if known else 0,
        out=job.out,
    )
