"""Running a data job: plan, shards by Ray Data, summary."""

from __future__ import annotations

import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from fourreal.platform import logs
from fourreal.platform.datajob import quarantine
from fourreal.platform.datajob.done import find_done
from fourreal.platform.datajob.items import Item, ItemFailure, Processor
from fourreal.platform.datajob.metrics import JobMetrics
from fourreal.platform.datajob.note import keeping_note
from fourreal.platform.datajob.plan import Plan, check_same_work, make_plan, read_plan, write_plan
from fourreal.platform.datajob.preparation import Preparation, prepare_items
from fourreal.platform.datajob.progress import Progress
from fourreal.platform.datajob.record import record_data_job
from fourreal.platform.datajob.shard_task import (
    ShardOrder,
    ShardOutcome,
    ShardProblem,
    items_to_do,
    make_shard,
)
from fourreal.platform.datajob.summary import JobSummary
from fourreal.platform.errors import UserError
from fourreal.platform.logs import about
from fourreal.platform.record_digest import write_digest
from fourreal.platform.runtime import compute_in_this_thread, ray_is_ours, ray_session
from fourreal.platform.shards import is_record, list_shards
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import StorageError

_RESTARTS = 3
"""A worker process that dies is replaced this often before its shard is given up."""
_SHARDS_AT_ONCE, _SHARDS_OF_WORKER_AT_ONCE = 4096, 64
"""Shards of one execution of Ray Data, at least; workers begin anew with each."""
_MANY_SHARDS = 8
"""For each worker: then one more waits in it, since Ray Data looks for finished tasks when all of them are, or each
0.1 s, and a worker with nothing waiting stands still meanwhile. Of few, one that waits may be what another lacks."""
_DIGEST_AFTER = 1000
"""Shards after which their records are written into a digest; later on, a quarter of those that are there."""

log = logging.getLogger(__name__)


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
    gpus_per_worker: float = 0
    """GPUs of each worker process, which sees no others; below 1, so many workers share one."""
    lossless: bool = False
    retry_quarantined: bool = False
    config_yaml: str = ""
    """The resolved configuration, saved beside the output as `config.yaml`."""
    reads: tuple[str, ...] = ()
    """Folders of shards that the items come from, for the record."""


def run_data_job(job: DataJob) -> JobSummary:
    """Run the job to its end, or go on with it; prints progress and a final table.

    Raises UserError before any work when the plan on disk is for other work, the output cannot be written or
    there is nothing to do, and StorageError when somebody must mend something before the job can go on.
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
    with about(job=job.name, plan=plan.fingerprint):
        before = find_done(out, plan)
        again = before.quarantined if job.retry_quarantined else {}
        todo = sorted({*before.missing, *again})
        left = int(plan.sizes[before.missing].sum()) + sum(map(len, again.values()))
        progress = Progress(job.name, plan.fingerprint, todo=left)
        made: list[int] = []
        if todo:
            with keeping_note(out, progress.note):
                made = _make_shards(out, job, plan, todo, progress)
            progress.close()
        after = find_done(out, plan, made) if todo else before
        if not after.missing:  # a listing may lag behind: what is not known to be done is not tidied up after
            quarantine.keep_only(out, (key for keys in after.quarantined.values() for key in keys))
        return JobSummary(
            grids=after.grids,
            quarantined=Counter(record.reason for record in quarantine.list_quarantine(out)),
            shards=after.count,
            missing_shards=after.missing,
            size_bytes=after.size_bytes,
            tried_now=bool(todo),
            made_now=progress.grids,
            busy_s=progress.busy_s,
            wall_s=time.monotonic() - start,
            out=job.out,
        )


def known_plan(out: Storage, job: DataJob) -> Plan | None:
    """The plan beside the output, if there is one. Raises UserError when it is for other work."""
    plan = read_plan(out)
    if plan is not None:
        check_same_work(plan, job.name, job.settings, job.items_per_shard)
    return plan


def new_plan(out: Storage, job: DataJob) -> Plan:
    """The plan that the job begins with; nothing is written. Raises UserError when there is nothing to do."""
    if list_shards(out):
        raise UserError(f"{out.uri} holds shards without a plan: choose an empty folder for --out")
    return make_plan(job.name, job.settings, job.list_items(), job.items_per_shard)


def _open_plan(out: Storage, job: DataJob) -> Plan:
    if plan := known_plan(out, job):
        return plan
    out.check_writable()
    plan = new_plan(out, job)
    out.write("config.yaml", job.config_yaml.encode())  # before the plan, which says that this was done
    write_plan(out, plan)
    return plan


def _make_shards(out: Storage, job: DataJob, plan: Plan, todo: Sequence[int], progress: Progress) -> list[int]:
    """Make them; returns those that are made. Raises StorageError when no other would fare better."""
    made = []
    with ray_session(job.workers):
        import ray

        workers = min(len(todo), room_for_workers(job, ray.cluster_resources()))
        metrics = JobMetrics(job.name, plan.fingerprint, progress.todo, workers)
        not_in_digest, digest_after = 0, _DIGEST_AFTER
        for outcome in _run_on_ray(out, job, plan, todo, workers):
            if isinstance(outcome, ShardProblem):
                if outcome.lasting:
                    raise StorageError(outcome.sentence, lasting=True)
                log.warning("shard %d is left for the next run: %s", outcome.index, outcome.sentence)
                continue
            made.append(outcome.index)
            progress.advance(outcome)
            metrics.add(outcome)
            not_in_digest += 1
            if not_in_digest == digest_after:  # so that whoever goes on after a crash need not open each record
                digest_after = max(_DIGEST_AFTER, _digest(out) // 4)
                not_in_digest = 0
        metrics.close()
    return made


def _digest(out: Storage) -> int:
    """Write the digest; returns how many records it holds, 0 where it cannot be written: it only saves time."""
    try:
        return write_digest(out, is_record)
    except StorageError as error:
        log.warning("the digest of records cannot be written: %s", error)
        return 0


class _ShardMaker:
    """The actor: shards are prepared side by side, in the threads that call, and processed one at a time.

    Rows carry JSON, which Ray Data keeps as it is.
    """

    def __init__(
        self,
        out: Storage,
        job: str,
        make_processor: Callable[[], Processor],
        preparation: Preparation | None,
        workers: int,
    ) -> None:
        logs.configure()
        compute_in_this_thread()
        self.out, self.job = out, job
        self.make_processor = make_processor
        self.processor: Processor | None = None
        self.processing = ThreadPoolExecutor(max_workers=1)
        self.preparer = preparation.make_preparer() if preparation else None
        self.preparing = ThreadPoolExecutor(preparation.threads_of_worker(workers)) if preparation else None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        order = _ORDER.validate_json(row["order"])
        try:
            outcome: ShardOutcome | ShardProblem = self._prepare_and_make(order)
        except StorageError as error:  # as a row, since Ray Data would tell the driver nothing of an exception
            outcome = ShardProblem(order.index, str(error), error.lasting)
        except UserError as error:  # of no item: the processor cannot be made, or the shard that is there is damaged
            outcome = ShardProblem(order.index, str(error), lasting=False)
        return {"outcome": _OUTCOME.dump_json(outcome).decode()}

    def _prepare_and_make(self, order: ShardOrder) -> ShardOutcome:
        if self.preparer is None or self.preparing is None:
            return self.processing.submit(self._make, order, {}).result()
        items = items_to_do(self.out, order)
        unprepared = prepare_items(items, self.preparer, self.preparing)
        outcome = self.processing.submit(self._make, order, unprepared).result()
        for item in items:
            self.preparer.release(item)
        return outcome

    def _make(self, order: ShardOrder, unprepared: Mapping[str, ItemFailure]) -> ShardOutcome:
        if self.processor is None:
            self.processor = self.make_processor()
        with about(job=self.job, plan=order.plan, shard=order.index):
            return make_shard(self.out, order, self.processor, unprepared)

    def __del__(self) -> None:
        if self.processor is not None:
            self.processor.close()


_ORDER = TypeAdapter(ShardOrder)
_OUTCOME: TypeAdapter[ShardOutcome | ShardProblem] = TypeAdapter(ShardOutcome | ShardProblem)


def _run_on_ray(
    out: Storage, job: DataJob, plan: Plan, todo: Sequence[int], workers: int
) -> Iterator[ShardOutcome | ShardProblem]:
    """The outcomes of the shards `todo`, as they come.

    A block of Ray Data is one shard, and it holds all its blocks at once: so some thousands of shards are one
    execution, which keeps memory the same for whatever number of shards. Shards that were lost with their workers, or
    whose storage was away, are tried once more at the end.
    """
    from ray.data import DataContext

    _quiet_ray_data()
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # A shard whose worker dies for ever is reported as missing; it must not take the others down.
    context.max_errored_blocks = -1
    lost = set(todo)
    ahead = (job.preparation.ahead if job.preparation else 0) + (len(todo) >= _MANY_SHARDS * workers)
    for orders in _in_pieces(job, plan, todo, workers):
        for outcome in _execute(out, job, orders, workers, ahead):
            if isinstance(outcome, ShardOutcome) or outcome.lasting:
                lost.remove(outcome.index)
                yield outcome
    # A worker that a shard kills takes down what waits in it: those get workers in which nothing else is.
    for orders in _in_pieces(job, plan, sorted(lost), workers):
        yield from _execute(out, job, orders, workers, ahead=0)


def _in_pieces(job: DataJob, plan: Plan, todo: Sequence[int], workers: int) -> Iterator[list[ShardOrder]]:
    """Orders for the shards `todo`, as many at a time as one execution takes."""
    at_once = max(_SHARDS_AT_ONCE, _SHARDS_OF_WORKER_AT_ONCE * workers)
    for first in range(0, len(todo), at_once):
        yield [
            ShardOrder(index, plan.items_of(index), plan.fingerprint, lossless=job.lossless)
            for index in todo[first : first + at_once]
        ]


def _execute(
    out: Storage, job: DataJob, orders: Sequence[ShardOrder], workers: int, ahead: int
) -> Iterator[ShardOutcome | ShardProblem]:
    """`ahead` is how many shards wait in each worker beside the one it makes."""
    import ray
    from ray.data import ActorPoolStrategy

    workers = min(workers, len(orders))
    prepared = min(ahead, job.preparation.ahead) if job.preparation else 0
    orders_json = [{"order": _ORDER.dump_json(order).decode()} for order in orders]
    outcomes = ray.data.from_items(orders_json, override_num_blocks=len(orders)).map(
        _ShardMaker,
        fn_constructor_args=(out, job.name, job.make_processor, job.preparation, workers),
        compute=ActorPoolStrategy(
            size=workers, max_tasks_in_flight_per_actor=1 + ahead, enable_true_multi_threading=True
        ),
        max_concurrency=1 + prepared,
        num_cpus=1,
        num_gpus=job.gpus_per_worker,
        max_restarts=_RESTARTS,  # Ray Data's own default is to restart for ever
        max_task_retries=_RESTARTS,
    )
    for row in outcomes.iter_rows():
        yield _OUTCOME.validate_json(row["outcome"])


def room_for_workers(job: DataJob, resources: Mapping[str, float]) -> int:
    """How many workers to ask for: as many as there is room for, or as the job says.

    On a cluster hosts may come for those that the job says. Raises UserError when nobody can say how many, and when
    none finds its GPU on this machine: Ray would wait for one for ever.
    """
    if job.workers and (job.gpus_per_worker == 0 or not ray_is_ours()):
        return job.workers
    if job.gpus_per_worker == 0:
        if (cores := int(resources.get("CPU", 0))) < 1:
            raise UserError(f"Ray counts no core yet: say with --workers how many {job.name} is to ask for")
        return cores
    room = int(resources.get("GPU", 0) / job.gpus_per_worker)
    if room < 1:
        raise UserError(f"{job.name} needs a GPU, but Ray counts none here: start Ray with --num-gpus, or use the CPU")
    return min(room, job.workers or room)


def _quiet_ray_data() -> None:
    """Keep Ray Data's own reports in its log files: this job prints its progress itself."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    # Restarts can be bounded only by arguments that Ray 2.60 announces to remove in 2.64, naming no successor.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
