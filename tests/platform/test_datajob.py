from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
import urllib.request
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.platform.numbers_job import Numbers, Waiter, cannot_be_made, number_items, numbers_job

from fourreal.platform.datajob import Item, Preparation, estimate_data_job, list_quarantine, metrics, run_data_job
from fourreal.platform.datajob import job as job_module
from fourreal.platform.datajob import plan as plan_module
from fourreal.platform.datajob.job import room_for_workers
from fourreal.platform.datajob.note import NOTE, parse_note
from fourreal.platform.datajob.plan import make_plan, read_plan, write_plan
from fourreal.platform.datajob.preparation import prepare_items
from fourreal.platform.datajob.shard_task import ShardOrder, items_to_do, make_shard
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.record_digest import DIGEST
from fourreal.platform.runtime import LOCAL_ENVIRONMENT
from fourreal.platform.shards import list_shards, read_grids, read_record
from fourreal.platform.storage import Storage


def _bytes(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("shard-*"))}


@pytest.fixture
def out(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def _order(index: int = 0) -> ShardOrder:
    return ShardOrder(index, number_items(4), "plan")


def test_a_grid_is_gone_before_the_next_is_made(out: Storage) -> None:
    """So that it can lie in the same memory, and a worker never holds two."""
    last: list[weakref.ref[Grid]] = []

    class Watched(Numbers):
        def process(self, item: Item) -> Grid:
            assert not last or last[0]() is None
            grid = super().process(item)
            last[:] = [weakref.ref(grid)]
            return grid

    assert make_shard(out, _order(), Watched()).made == 4


def test_a_plan_survives_its_file_and_never_depends_on_anything_but_the_work(out: Storage) -> None:
    plan = make_plan("job", {"a": 1}, number_items(7), 3)
    write_plan(out, plan)
    again = read_plan(out)
    assert again is not None
    assert again.fingerprint == plan.fingerprint
    assert [item for shard in range(3) for item in again.items_of(shard)] == number_items(7)
    assert again.shard_count == 3
    assert make_plan("job", {"a": 2}, number_items(7), 3).fingerprint != plan.fingerprint
    assert make_plan("job", {"a": 1}, number_items(6), 3).fingerprint != plan.fingerprint


def test_groups_share_a_shard_where_they_fit() -> None:
    groups = ["a", "a", "b", "b", "b", "", "", "c", "c", "c", "c", "c", "c"]
    items = [replace(item, group=group) for item, group in zip(number_items(13), groups, strict=True)]
    plan = make_plan("job", {}, items, 4)
    sizes = [len(plan.items_of(shard)) for shard in range(plan.shard_count)]
    assert sizes == [2, 4, 1, 4, 2]  # the last group fits nowhere
    assert [i.key for shard in range(5) for i in plan.items_of(shard)] == [i.key for i in items]


def test_a_plan_refuses_nothing_and_doubles() -> None:
    with pytest.raises(UserError, match="nothing to do"):
        make_plan("job", {}, [], 3)
    with pytest.raises(UserError, match="two items"):
        make_plan("job", {}, [*number_items(2), *number_items(1)], 3)


def test_an_items_place_does_not_depend_on_how_many_are_packed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_plan("job", {"a": 1}, number_items(23), 4)
    monkeypatch.setattr(plan_module, "_ROWS_AT_ONCE", 5)
    packed = make_plan("job", {"a": 1}, iter(number_items(23)), 4)
    assert packed.fingerprint == whole.fingerprint
    assert [packed.items_of(shard) for shard in range(6)] == [whole.items_of(shard) for shard in range(6)]
    assert packed.sizes.tolist() == [4, 4, 4, 4, 4, 3]
    with pytest.raises(UserError, match="two items are called 'n002'"):
        make_plan("job", {}, [*number_items(20), *number_items(22)[2:3]], 3)


def test_a_plan_has_the_fingerprint_that_it_had_before_it_was_packed() -> None:
    """Outputs begun by an earlier version go on."""
    assert make_plan("job", {"a": 1}, number_items(7), 3).fingerprint == "c3a1f506b4f7bda8"


def test_a_bad_item_goes_to_quarantine_with_all_that_is_known(out: Storage, tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"1": "refuse", "2": "bug", "3": "flaky"}')
    outcome = make_shard(out, _order(), Numbers(faults))
    assert (outcome.made, dict(outcome.quarantined)) == (2, {"bad_number": 1, "unexpected_error": 1})
    refused, bug = list_quarantine(out)
    assert (refused.key, refused.reason, refused.stage) == ("n001", "bad_number", "count")
    assert (refused.source, refused.stderr_tail, refused.sha256) == ("number 1", "native words", "f" * 64)
    assert "ZeroDivisionError: nobody foresaw this" in bug.message
    assert "numbers_job.py" in bug.stderr_tail
    assert [grid.key for grid in read_grids(out)] == ["n000", "n003"]
    record = read_record(out, 0)
    assert record is not None
    assert record.quarantined == ("n001", "n002")


def test_failures_that_may_pass_are_tried_as_often_as_told(out: Storage, tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"1": "flaky"}')
    once = ShardOrder(0, number_items(4), "plan", attempts=1)
    assert make_shard(out, once, Numbers(faults)).quarantined == {"flaky": 1}
    assert list_quarantine(out)[0].attempts == 1
    assert make_shard(Storage(f"{out.uri}/other"), _order(), Numbers(faults)).made == 4


def test_retrying_makes_only_what_was_missing_and_ends_with_the_undisturbed_bytes(out: Storage, tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"1": "refuse"}')
    make_shard(out, _order(), Numbers(faults))
    healthy = Numbers()
    outcome = make_shard(out, _order(), healthy)
    assert healthy.asked == ["n001"]
    assert outcome.made == 1
    undisturbed = Storage(f"{out.uri}/undisturbed")
    make_shard(undisturbed, _order(), Numbers())
    assert out.read("shard-000000.tar") == undisturbed.read("shard-000000.tar")
    assert out.read("shard-000000.json") == undisturbed.read("shard-000000.json")


@pytest.mark.parametrize("lost", ["shard-000000.tar", "shard-000000.json"])
def test_a_retry_that_is_killed_leaves_a_shard_to_make_and_none_that_cannot_be_read(
    out: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"1": "refuse"}')
    make_shard(out, _order(), Numbers(faults))
    write = Storage.write
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", lambda at, name, data: sys.exit(9) if name == lost else write(at, name, data))
        with pytest.raises(SystemExit):
            make_shard(out, _order(), Numbers())
    assert list_shards(out) == []
    make_shard(out, _order(), Numbers())
    undisturbed = Storage(f"{out.uri}/undisturbed")
    make_shard(undisturbed, _order(), Numbers())
    assert out.read("shard-000000.tar") == undisturbed.read("shard-000000.tar")


def test_the_settings_are_there_before_the_plan_that_goes_on_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "write_plan", lambda out, plan: sys.exit(9))
    with pytest.raises(SystemExit):
        run_data_job(numbers_job(tmp_path / "out"))
    assert (tmp_path / "out" / "config.yaml").exists()


def test_what_could_not_be_prepared_goes_to_quarantine_unasked(out: Storage, tmp_path: Path) -> None:
    waiter = Waiter(tmp_path, tmp_path / "log", {"1": "refuse"})
    with ThreadPoolExecutor(2) as threads:
        unprepared = prepare_items(items_to_do(out, _order()), waiter, threads)
        waiter.log = tmp_path  # writing there is a bug that nobody foresaw
        bugs = prepare_items(number_items(1), waiter, threads)
    assert (bugs["n000"].stage, bugs["n000"].reason) == ("prepare", "unexpected_error")
    numbers = Numbers()
    assert make_shard(out, _order(), numbers, unprepared).quarantined == {"gone": 1}
    assert numbers.asked == ["n000", "n002", "n003"]
    (record,) = list_quarantine(out)
    assert (record.stage, record.reason, record.attempts) == ("fetch", "gone", 3)
    assert [item.key for item in items_to_do(out, _order())] == ["n001"]
    undisturbed = Storage(f"{out.uri}/undisturbed")
    make_shard(out, _order(), Numbers())
    make_shard(undisturbed, _order(), Numbers())
    assert out.read("shard-000000.tar") == undisturbed.read("shard-000000.tar")


@pytest.mark.parametrize(("workers", "threads"), [(1, 16), (5, 3), (100, 1)])
def test_workers_share_what_is_prepared_at_a_time(workers: int, threads: int) -> None:
    assert Preparation(lambda: Waiter(Path(), Path(), {})).threads_of_worker(workers) == threads


def _wait_for_metrics(plan: str, wanted: dict[str, float]) -> None:
    """Until Ray's exporter says of the plan what is wanted, by name and outcome."""
    import ray
    from prometheus_client.parser import text_string_to_metric_families

    address = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + 240
    found: dict[str, float] = {}
    while not wanted.items() <= found.items():
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
        text = urllib.request.urlopen(address, timeout=60).read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.labels.get("plan") == plan:
                    outcome = sample.labels.get("outcome")
                    found[sample.name.removeprefix("ray_") + (f":{outcome}" if outcome else "")] = sample.value


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_of_two_cores")
class TestOnRay:
    def test_a_slow_item_is_waited_for_beside_the_others_and_few_are_prepared_ahead(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        make = functools.partial(Waiter, tmp_path / "out", log, {"0": "shard-000004.json", "6": "refuse"})
        preparation = Preparation(make, parallel=2, ahead=2)
        job = numbers_job(tmp_path / "out", 8, preparation=preparation, items_per_shard=1, workers=1)
        summary = run_data_job(job)
        assert (summary.grids, dict(summary.quarantined), summary.missing_shards) == (7, {"gone": 1}, [])
        lines = [line.split() for line in log.read_text().splitlines()]
        begun = [int(done) for verb, _, done in lines if verb == "prepare"]
        assert all(order - done <= 2 for order, done in enumerate(begun)), begun
        assert sorted(number for verb, number, _ in lines if verb == "release") == list("01234567")

    def test_a_killed_worker_costs_nothing_and_a_rerun_does_nothing(self, tmp_path: Path) -> None:
        faults = tmp_path / "faults.json"
        faults.write_text('{"5": "die once"}')
        summary = run_data_job(numbers_job(tmp_path / "killed", faults=faults))
        assert (summary.grids, summary.missing_shards, summary.exit_status) == (10, [], 0)
        before = _bytes(tmp_path / "killed")
        again = run_data_job(numbers_job(tmp_path / "killed"))
        assert (again.grids, again.made_now) == (10, 0)
        run_data_job(numbers_job(tmp_path / "undisturbed"))
        assert _bytes(tmp_path / "undisturbed") == before == _bytes(tmp_path / "killed")

    def test_a_processor_that_cannot_be_made_is_told_in_its_own_words(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = replace(numbers_job(tmp_path / "out", 4), make_processor=cannot_be_made)
        summary = run_data_job(job)
        assert (list(summary.missing_shards), summary.exit_status, summary.grids) == ([0, 1], 1, 0)
        assert "shard 0 is left for the next run: there is no model in /nowhere" in caplog.text
        assert run_data_job(numbers_job(tmp_path / "out", 4)).grids == 4

    def test_an_item_that_kills_every_worker_costs_its_shard_only_and_a_rerun_mends_it(self, tmp_path: Path) -> None:
        faults = tmp_path / "faults.json"
        faults.write_text('{"5": "die", "0": "refuse"}')
        summary = run_data_job(numbers_job(tmp_path / "out", 8, faults=faults))
        assert list(summary.missing_shards) == [2]
        assert summary.exit_status == 1
        assert summary.grids == 5
        faults.write_text("{}")
        mended = run_data_job(numbers_job(tmp_path / "out", 8, faults=faults, retry_quarantined=True))
        assert (mended.grids, mended.made_now, dict(mended.quarantined)) == (8, 3, {})
        assert not list((tmp_path / "out" / "quarantine").iterdir())

    def test_shards_that_wait_in_a_worker_do_not_die_with_it(self, tmp_path: Path) -> None:
        faults = tmp_path / "faults.json"
        faults.write_text('{"1": "die"}')
        summary = run_data_job(numbers_job(tmp_path / "out", 16, faults=faults, items_per_shard=1, workers=2))
        assert (list(summary.missing_shards), summary.grids) == ([1], 15)

    def test_more_shards_than_one_execution_takes_come_out_the_same_and_are_counted_for_prometheus(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        faults = tmp_path / "faults.json"
        faults.write_text('{"3": "refuse"}')
        run_data_job(numbers_job(tmp_path / "at-once", 14, faults=faults))
        monkeypatch.setattr(job_module, "_SHARDS_AT_ONCE", 3)
        monkeypatch.setattr(job_module, "_SHARDS_OF_WORKER_AT_ONCE", 1)
        monkeypatch.setattr(job_module, "_DIGEST_AFTER", 2)
        settings = {"settings": {"views": 2, "name": "pieces"}}  # another plan: counters of its own
        summary = run_data_job(numbers_job(tmp_path / "in-pieces", 14, faults=faults, **settings))
        assert (summary.grids, summary.shards, dict(summary.quarantined)) == (13, 7, {"bad_number": 1})
        tars = [{name: data for name, data in _bytes(tmp_path / folder).items() if name.endswith(".tar")}
                for folder in ("at-once", "in-pieces")]  # fmt: skip
        assert tars[0] == tars[1]
        assert (tmp_path / "in-pieces" / DIGEST).exists()
        note = parse_note((tmp_path / "in-pieces" / NOTE).read_bytes())
        assert note is not None
        assert (note.state, note.grids, note.todo, dict(note.quarantined)) == ("ended", 13, 14, {"bad_number": 1})
        plan = read_plan(Storage(str(tmp_path / "in-pieces")))
        assert plan is not None
        wanted = {f"{metrics.ITEMS}:grid": 13, f"{metrics.ITEMS}:bad_number": 1, metrics.SHARDS: 7, metrics.WAITING: 0}
        _wait_for_metrics(plan.fingerprint, wanted)

    def test_a_killed_driver_leaves_no_process_and_its_rerun_the_undisturbed_bytes(self, tmp_path: Path) -> None:
        script = (
            "from pathlib import Path; from tests.platform.numbers_job import numbers_job; "
            "from fourreal.platform.datajob import run_data_job; "
            f"run_data_job(numbers_job(Path({str(tmp_path)!r}) / 'out', 12, pause_s=1.5))"
        )
        driver = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
        deadline = time.monotonic() + 240
        while len(list((tmp_path / "out").glob("shard-*.json"))) < 2:
            assert time.monotonic() < deadline
            assert driver.poll() is None
            time.sleep(0.05)
        family = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
        # Ray's two agents look for their raylet now and then, and go a minute or two later.
        workers = [process for process in family if "Agent" not in process.name()]
        assert len(workers) > 3
        _, alive = psutil.wait_procs(workers, timeout=120)
        assert not alive
        assert 2 <= len(list_shards(Storage(str(tmp_path / "out")))) < 6
        run_data_job(numbers_job(tmp_path / "out", 12))
        run_data_job(numbers_job(tmp_path / "undisturbed", 12))
        assert _bytes(tmp_path / "out") == _bytes(tmp_path / "undisturbed")


def test_workers_that_need_gpus_are_as_many_as_there_are(tmp_path: Path) -> None:
    job = numbers_job(tmp_path / "out", workers=None)
    assert room_for_workers(job, {"CPU": 8.0, "GPU": 2.0}) == 8
    for workers, room in ((None, 2), (1, 1), (5, 2)):
        assert room_for_workers(replace(job, workers=workers, gpus_per_worker=1), {"CPU": 8.0, "GPU": 2.0}) == room
    for share, room in ((0.5, 4), (0.0625, 32), (0.3333, 6)):
        assert room_for_workers(replace(job, gpus_per_worker=share), {"CPU": 8.0, "GPU": 2.0}) == room
    with pytest.raises(UserError, match="numbers needs a GPU, but Ray counts none"):
        room_for_workers(replace(job, gpus_per_worker=1), {"CPU": 8.0})


def test_on_a_cluster_without_hosts_yet_the_job_says_how_many_workers_are_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = numbers_job(tmp_path / "out", workers=None)
    monkeypatch.setenv("RAY_ADDRESS", "cluster:6379")
    for gpus in (0, 1):
        assert room_for_workers(replace(job, workers=5, gpus_per_worker=gpus), {"GPU": 1.0}) == 5
        with pytest.raises(UserError, match="Ray counts no"):
            room_for_workers(replace(job, gpus_per_worker=gpus), {})


@pytest.mark.ray
@pytest.mark.slow
def test_each_worker_that_needs_a_gpu_sees_one_of_its_own(tmp_path: Path) -> None:
    """Ray is told of two; whether there are any makes no difference to what it hands out."""
    seen = tmp_path / "seen"
    seen.mkdir()
    code = (
        "import functools; from dataclasses import replace; from pathlib import Path; import ray\n"
        "from fourreal.platform.datajob import run_data_job\n"
        "from tests.platform.numbers_job import SeesGpus, numbers_job\n"
        "ray.init(address='local', num_cpus=2, num_gpus=2, include_dashboard=False, configure_logging=False)\n"
        f"job = numbers_job(Path({str(tmp_path)!r}) / 'out', 8, workers=None, gpus_per_worker=1)\n"
        f"run_data_job(replace(job, make_processor=functools.partial(SeesGpus, Path({str(seen)!r}))))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **LOCAL_ENVIRONMENT})
    assert {path.read_text() for path in seen.iterdir()} == {"0", "1"}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_of_two_cores")
def test_an_estimate_counts_up_a_few_items_and_leaves_nothing_behind(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"0": "refuse"}')
    estimate = estimate_data_job(numbers_job(tmp_path / "out", 40, faults=faults, pause_s=0.2), limit=4)
    assert (estimate.items, estimate.tried, dict(estimate.quarantined)) == (40, 4, {"bad_number": 1})
    assert 0.2 <= estimate.work_s_per_item < 20.0
    assert estimate.core_hours == pytest.approx(40 * estimate.work_s_per_item / 3600)
    assert estimate.size_bytes_per_item > 1000
    assert list((tmp_path / "out").rglob("*")) == []
    assert run_data_job(numbers_job(tmp_path / "out", 2)).made_now == 2


def test_other_work_in_the_same_folder_is_refused_by_name(tmp_path: Path) -> None:
    out = Storage(str(tmp_path))
    write_plan(out, make_plan("numbers", {"views": 2}, number_items(2), 2))
    with pytest.raises(UserError, match="planned with views = 2, now it is 3"):
        run_data_job(numbers_job(tmp_path, settings={"views": 3}))


def test_a_folder_of_foreign_shards_and_one_without_room_are_refused_before_any_work(tmp_path: Path) -> None:
    make_shard(Storage(str(tmp_path / "foreign")), _order(), Numbers())
    with pytest.raises(UserError, match="without a plan"):
        run_data_job(numbers_job(tmp_path / "foreign"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        run_data_job(numbers_job(tmp_path / "file" / "out"))


def test_a_shard_of_another_plan_is_refused(tmp_path: Path) -> None:
    out = Storage(str(tmp_path))
    write_plan(out, make_plan("numbers", {"views": 2}, number_items(10), 2))
    make_shard(out, ShardOrder(0, number_items(2), "another"), Numbers())
    with pytest.raises(UserError, match="belongs to another plan"):
        run_data_job(numbers_job(tmp_path))
