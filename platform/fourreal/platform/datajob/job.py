"""Running a data job: plan, shards by Ray Data, summary."""

from __future__ import annotations

import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from fourreal.platform.datajob import quarantine
from fourreal.platform.datajob.items import Item, ItemFailure, Processor
from fourreal.platform.datajob.plan import Plan, check_same_work, make_plan, read_plan, write_plan
from fourreal.platform.datajob.preparation import Preparation, prepare_items
from fourreal.platform.datajob.progress import Progress
from fourreal.platform.datajob.record import record_data_job
from fourreal.platform.datajob.shard_task import ShardOrder, ShardOutcome, items_to_do, make_shard
from fourreal.platform.datajob.summary import JobSummary
from fourreal.platform.errors import UserError
from fourreal.platform.runtime import ray_session
from fourreal.platform.shards import ShardRecord, list_shards
from fourreal.platform.storage import Storage

_RESTARTS = 3
"""A worker process that dies is replaced this often before its shard is given up."""


@dataclass(frozen=True)
class DataJob:
    """A data job as data.

    `list_items` is called once, when there is no plan yet. `make_processor` is called in each worker process
    (it travels by pickle: a module-level function, or a `functools.partial` of one).
    """

    name: str
    out: str
    settings: Mapping[str, Any]
    """What decides the bytes of the grids, as JSON; a rerun with other settings is refused."""
    list_items: Callable[[], Iterable[Item]]
    make_processor: Callable[[], Processor]
    preparation: Preparation | None = None
    """What items need before they can be processed, fetched ahead; a failure there is the item's quarantine record."""
    items_per_shard: int = 8
    workers: int | None = None
    """Worker processes, one core each; None: one for each core of the cluster, or for each GPU if they need one."""
    gpus_per_worker: int = 0
    """GPUs of each worker process, which sees no others."""
    lossless: bool = False
    retry_quarantined: bool = False
    config_yaml: str = ""
    """The resolved configuration, saved beside the output as `config.yaml`."""
    reads: tuple[str, ...] = ()
    """Folders of shards that the items come from, for the record."""


def run_data_job(job: DataJob) -> JobSummary:
    """Run the job to its end, or go on with it; prints progress and a final table.

    Raises UserError before any work when the plan on disk is for other work, the output cannot be written or
    there is nothing to do.
    """
    summary = work_off(job)
    summary.print_table(job.name)
    record_data_job(job.name, job.settings, job.reads, summary)
    return summary


def work_off(job: DataJob) -> JobSummary:
    """Like `run_data_job`, without the table."""
    start = time.monotonic()
    out = Storage(job.out)
    plan = _open_plan(out, job)
    done = {record.index: record for record in list_shards(out)}
    _check_fingerprints(out, plan, done)
    orders = _orders(plan, done, job)
    progress = Progress(job.name, todo=_items_left(orders, done))
    if orders:
        for outcome in _run_on_ray(out, job, orders):
            progress.advance(outcome)
        progress.close()
    records = list_shards(out)
    quarantine.keep_only(out, [key for record in records for key in record.quarantined])
    return JobSummary(
        grids=_count(records),
        quarantined=Counter(record.reason for record in quarantine.list_quarantine(out)),
        shards=len(records),
        missing_shards=sorted(set(range(plan.shard_count)) - {record.index for record in records}),
        size_bytes=sum(record.size_bytes for record in records),
        tried_now=bool(orders),
        made_now=progress.grids,
        busy_s=progress.busy_s,
        wall_s=time.monotonic() - start,
        out=job.out,
    )


def _open_plan(out: Storage, job: DataJob) -> Plan:
    plan = read_plan(out)
    if plan is not None:
        check_same_work(plan, job.name, job.settings, job.items_per_shard)
        return plan
    out.check_writable()
    if list_shards(out):
        raise UserError(f"{out.uri} holds shards without a plan: choose an empty folder for --out")
    plan = make_plan(job.name, job.settings, job.list_items(), job.items_per_shard)
    write_plan(out, plan)
    out.write("config.yaml", job.config_yaml.encode())
    return plan


def _check_fingerprints(out: Storage, plan: Plan, done: Mapping[int, ShardRecord]) -> None:
    for record in done.values():
        if record.plan != plan.fingerprint or record.index >= plan.shard_count:
            raise UserError(f"{out.path(record.name)} belongs to another plan: choose another --out")


def _orders(plan: Plan, done: Mapping[int, ShardRecord], job: DataJob) -> list[ShardOrder]:
    again = {i for i, record in done.items() if record.quarantined} if job.retry_quarantined else set()
    todo = [i for i in range(plan.shard_count) if i not in done or i in again]
    return [ShardOrder(i, plan.items_of(i), plan.fingerprint, lossless=job.lossless) for i in todo]


def _items_left(orders: Iterable[ShardOrder], done: Mapping[int, ShardRecord]) -> int:
    return sum(len(done[o.index].quarantined) if o.index in done else len(o.items) for o in orders)


def _count(records: Iterable[ShardRecord]) -> int:
    return sum(len(record.keys) for record in records)


class _ShardMaker:
    """The actor: shards are prepared side by side, in the threads that call, and processed one at a time.

    Rows carry JSON, which Ray Data keeps as it is.
    """

    def __init__(
        self, out: Storage, make_processor: Callable[[], Processor], preparation: Preparation | None, workers: int
    ) -> None:
        self.out = out
        self.make_processor = make_processor
        self.processor: Processor | None = None
        self.processing = ThreadPoolExecutor(max_workers=1)
        self.preparer = preparation.make_preparer() if preparation else None
        self.preparing = ThreadPoolExecutor(preparation.threads_of_worker(workers)) if preparation else None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        order = _ORDER.validate_json(row["order"])
        if self.preparer is None or self.preparing is None:
            outcome = self.processing.submit(self._make, order, {}).result()
        else:
            items = items_to_do(self.out, order)
            unprepared = prepare_items(items, self.preparer, self.preparing)
            outcome = self.processing.submit(self._make, order, unprepared).result()
            for item in items:
                self.preparer.release(item)
        return {"outcome": _OUTCOME.dump_json(outcome).decode()}

    def _make(self, order: ShardOrder, unprepared: Mapping[str, ItemFailure]) -> ShardOutcome:
        if self.processor is None:
            self.processor = self.make_processor()
        return make_shard(self.out, order, self.processor, unprepared)

    def __del__(self) -> None:
        if self.processor is not None:
            self.processor.close()


_ORDER, _OUTCOME = TypeAdapter(ShardOrder), TypeAdapter(ShardOutcome)


def _run_on_ray(out: Storage, job: DataJob, orders: Sequence[ShardOrder]) -> Iterable[ShardOutcome]:
    with ray_session(job.workers):
        import ray
        from ray.data import ActorPoolStrategy, DataContext

        _quiet_ray_data()
        context = DataContext.get_current()
        context.enable_progress_bars = False
        # A shard whose worker dies for ever is reported as missing; it must not take the others down.
        context.max_errored_blocks = -1
        workers = min(len(orders), room_for_workers(job, ray.cluster_resources()))
        at_once = 1 + (job.preparation.ahead if job.preparation else 0)
        orders_json = [{"order": _ORDER.dump_json(order).decode()} for order in orders]
        outcomes = ray.data.from_items(orders_json, override_num_blocks=len(orders)).map(
            _ShardMaker,
            fn_constructor_args=(out, job.make_processor, job.preparation, workers),
            compute=ActorPoolStrategy(
                size=workers, max_tasks_in_flight_per_actor=at_once, enable_true_multi_threading=True
            ),
            max_concurrency=at_once,
            num_cpus=1,
            num_gpus=job.gpus_per_worker,
            max_restarts=_RESTARTS,  # Ray Data's own default is to restart for ever
            max_task_retries=_RESTARTS,
        )
        for row in outcomes.iter_rows():
            yield _OUTCOME.validate_json(row["outcome"])


def room_for_workers(job: DataJob, resources: Mapping[str, float]) -> int:
    """How many workers there can be. Raises UserError when none finds its GPU: Ray would wait for one for ever."""
    if job.gpus_per_worker == 0:
        return job.workers or int(resources.get("CPU", 1))
    room = int(resources.get("GPU", 0)) // job.gpus_per_worker
    if room < 1:
        raise UserError(f"{job.name} needs a GPU, but Ray counts none here: start Ray with --num-gpus, or use the CPU")
    return min(room, job.workers or room)


def _quiet_ray_data() -> None:
    """Keep Ray Data's own reports in its log files: this job prints its progress itself."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    # Restarts can be bounded only by arguments that Ray 2.60 announces to remove in 2.64, naming no successor.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
