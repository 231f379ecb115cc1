"""What the jobs that make grids have in common: their options, and how these become a data job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

from fourreal.platform.config import as_yaml
from fourreal.platform.datajob import (
    DataJob,
    Item,
    JobSummary,
    Preparation,
    Processor,
    estimate_data_job,
    preview_data_job,
)
from fourreal.platform.errors import UserError

ConfigT = TypeVar("ConfigT", bound="GridJobConfig")


@dataclass(frozen=True, kw_only=True)
class GridJobConfig:
    """Options of every job that makes grids. A subclass adds what its grids are made from, and how."""

    out: str
    """Folder for the shards, local or s3://."""
    views: int = 8
    """Viewpoints of a grid."""
    times: int = 8
    """Moments of a grid."""
    height: int = 96
    """Height of a frame, pixels."""
    width: int = 160
    """Width of a frame, pixels."""
    seed: int = 0
    """Decides all that is random; the same seed, sources and settings give the same bytes."""
    items_per_shard: int = 4
    """Grids in a shard."""
    workers: int | None = None
    """Worker processes, a core each; all cores by default."""
    lossless: bool = False
    """Store frames as PNG instead of JPEG of quality 95."""
    retry_quarantined: bool = False
    """Try the items in quarantine again."""
    limit: int | None = None
    """Estimate: do only this many items, spread over all, keep no grid, and print what the whole job would cost."""
    dry_run: bool = False
    """Check settings and sources, print what would be made, and make nothing."""

    NOT_DECIDING_BYTES: ClassVar[frozenset[str]] = frozenset(
        ["out", "items_per_shard", "workers", "retry_quarantined", "limit", "dry_run"]
    )
    """Fields that may change from one run on the same output to the next."""
    AT_LEAST_ONE: ClassVar[tuple[str, ...]] = ("views", "times", "items_per_shard", "workers")
    """Fields that count something, or are None."""

    def __post_init__(self) -> None:
        for name in self.AT_LEAST_ONE:
            count = getattr(self, name)
            if count is not None and count < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {count}")
        if min(self.height, self.width) < 8:
            raise UserError(f"--height and --width must be at least 8, not {self.height}x{self.width}")
        if self.seed < 0:
            raise UserError(f"--seed must be 0 or more, not {self.seed}")

    def decisive(self) -> dict[str, Any]:
        """The settings that decide the bytes of the grids."""
        return {k: v for k, v in asdict(self).items() if k not in self.NOT_DECIDING_BYTES}

    def data_job(
        self,
        name: str,
        list_items: Callable[[], Iterable[Item]],
        make_processor: Callable[[], Processor],
        *,
        settings: Mapping[str, Any] | None = None,
        preparation: Preparation | None = None,
        gpus_per_worker: int = 0,
    ) -> DataJob:
        """The data job of these options; `settings` are those of the sources, beside the decisive ones."""
        return DataJob(
            name=name,
            out=self.out,
            settings=self.decisive() | dict(settings or {}),
            list_items=list_items,
            make_processor=make_processor,
            preparation=preparation,
            items_per_shard=self.items_per_shard,
            workers=self.workers,
            gpus_per_worker=gpus_per_worker,
            lossless=self.lossless,
            retry_quarantined=self.retry_quarantined,
            config_yaml=as_yaml(self),
        )


def run_or_tell(config: ConfigT, make_job: Callable[[ConfigT], DataJob], run: Callable[[ConfigT], JobSummary]) -> int:
    """What a command does: run the job, or with `--dry-run` or `--limit` say what it would do or cost.

    Returns the exit status.
    """
    if config.dry_run:
        job = make_job(config)
        preview_data_job(job).print_table(job.name)
        return 0
    if config.limit is not None:
        job = make_job(config)
        estimate_data_job(job, config.limit).print_table(job.name)
        return 0
    return run(config).exit_status
