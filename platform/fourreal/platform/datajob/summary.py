"""How the output folder of a data job stands after a run, and the table that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class JobSummary:
    """How the output folder stands after a run."""

    grids: int
    quarantined: Mapping[str, int]
    """Items by reason."""
    shards: int
    missing_shards: Sequence[int]
    """Shards whose worker died again and again, or that the log tells the reason of; a rerun takes them up."""
    size_bytes: int
    tried_now: bool
    """Whether there was anything left to do."""
    made_now: int
    """Grids made by this run."""
    busy_s: float
    """Time that workers spent on the items of this run, added up."""
    wall_s: float
    out: str

    @property
    def exit_status(self) -> int:
        """0 when every shard of the plan is done."""
        return 1 if self.missing_shards else 0

    def print_table(self, name: str) -> None:
        """Print how the job of this name ended."""
        refused = sum(self.quarantined.values())
        rows = [
            ("grids", f"{self.grids} ({self.made_now} made now)"),
            ("quarantined", str(refused)),
            *((f"  {reason}", str(count)) for reason, count in sorted(self.quarantined.items())),
            ("shards", f"{self.shards}, {self.size_bytes / 1e6:.1f} MB"),
            ("time", f"{self.wall_s:.1f} s, {self.busy_s:.1f} s of work"),
            ("where", self.out),
        ]
        if refused:
            rows.append(("reasons", f"{self.out.rstrip('/')}/quarantine/*.json; --retry-quarantined tries again"))
        if self.missing_shards:
            missing = ", ".join(map(str, self.missing_shards[:8]))
            why = "their workers died repeatedly, or as the log says"
            rows.append(("missing", f"shards {missing}: {why}; run the command again"))
        print(f"{name}: " + ("done" if self.tried_now else "nothing left to do"))
        for label, value in rows:
            print(f"  {label:<24}{value}")
