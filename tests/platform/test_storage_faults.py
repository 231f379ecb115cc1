"""Stores that fail: no half object is taken for a whole one, no item is blamed for it, nothing is lost."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.faulty_s3 import FaultyS3, Request
from tests.platform.numbers_job import Numbers, number_items, numbers_job

from fourreal.platform.config import command
from fourreal.platform.datajob import Item, ItemFailure, list_quarantine, run_data_job
from fourreal.platform.datajob.done import find_done
from fourreal.platform.datajob.plan import read_plan
from fourreal.platform.datajob.preparation import prepare_items
from fourreal.platform.datajob.shard_task import ShardOrder, make_shard
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.runtime import ray_session
from fourreal.platform.shards import list_shards, read_grids
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import StorageError

BIG = random.Random(0).randbytes(20_000_000)
"""More than one part of a multipart upload."""


def first(count: int, of: Callable[[Request], bool]) -> Callable[[Request], bool]:
    """A fault that strikes so many of the requests that fit."""
    numbers = itertools.count()
    return lambda request: of(request) and next(numbers) < count


def is_completion(request: Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


def is_read(request: Request) -> bool:
    return request.method == "GET" and request.path.endswith("/big")


@pytest.fixture
def storage(s3_bucket: str, s3_outage: FaultyS3) -> Storage:
    """A folder of a faulty store, which does nothing wrong yet."""
    return Storage(f"{s3_bucket}/out")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourreal.platform.storage._ATTEMPTS", 2)


def test_uploads_go_on_after_resets_and_lost_answers(storage: Storage, s3_outage: FaultyS3) -> None:
    s3_outage.resets = first(2, lambda request: request.is_part)
    storage.write("big", BIG)
    s3_outage.loses_answer = first(1, lambda request: request.is_part)
    storage.write("big", BIG)
    assert s3_outage.refused == 3
    assert storage.read("big") == BIG


def test_an_upload_that_was_completed_unheard_is_whole(storage: Storage, s3_outage: FaultyS3) -> None:
    s3_outage.loses_answer = first(1, is_completion)
    storage.write("big", BIG)
    assert s3_outage.refused == 1
    assert storage.read("big") == BIG


@pytest.mark.usefixtures("impatient")
def test_an_upload_that_breaks_off_for_good_leaves_the_old_object(storage: Storage, s3_outage: FaultyS3) -> None:
    storage.write("big", b"old")
    s3_outage.resets = lambda request: request.is_part and request.query["partNumber"] == ["2"]
    with pytest.raises(StorageError, match=r"cannot write .*/out/big") as caught:
        storage.write("big", BIG)
    assert not caught.value.lasting
    assert storage.read("big") == b"old"
    assert [entry.path for entry in storage.list(recursive=True)] == ["big"]


def test_what_is_read_is_whole_though_answers_break_off_and_stand_still(storage: Storage, s3_outage: FaultyS3) -> None:
    storage.write("big", BIG)
    s3_outage.breaks_off = first(3, is_read)
    assert storage.read("big") == BIG
    with storage.open("big") as stream:
        stream.seek(1_234_567)
        s3_outage.breaks_off = first(1, is_read)
        assert stream.read(5) == BIG[1_234_567:][:5]
    stalled = first(1, is_read)
    s3_outage.stalls_s = lambda request: 4.0 if stalled(request) else 0.0  # longer than pyarrow waits by itself
    assert storage.read("big") == BIG
    assert s3_outage.refused == 5


def test_an_object_that_is_shorter_than_a_refusal_is_asked_for_again(storage: Storage, s3_outage: FaultyS3) -> None:
    storage.write("big", b"7")
    ask = s3_outage.requests + 2  # the first looks how large it is
    s3_outage.refuses = lambda number: number in (ask, ask + 1)
    assert storage.read("big") == b"7"
    assert s3_outage.refused == 2


ACTIONS: dict[str, Callable[[Storage], object]] = {
    "read": lambda storage: storage.read("big"),
    "look for": lambda storage: storage.exists("big"),
    "list": lambda storage: storage.list(recursive=True),
    "write": lambda storage: storage.write("big", b"new"),
    "delete": lambda storage: storage.delete("big"),
    "check": lambda storage: storage.check_writable(),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_expired_credentials_are_one_sentence_whatever_is_asked(
    storage: Storage, s3_outage: FaultyS3, action: str
) -> None:
    storage.write("big", b"old")
    s3_outage.expired = True
    with pytest.raises((StorageError, UserError), match=r"cannot .*: the S3 credentials have expired: renew them$"):
        ACTIONS[action](storage)
    s3_outage.expired = False
    assert storage.read("big") == b"old"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
def test_a_clock_that_is_wrong_is_one_sentence_whatever_is_asked(
    storage: Storage, s3_outage: FaultyS3, action: str, ahead_s: float
) -> None:
    storage.write("big", b"old")
    s3_outage.clock_ahead_s = ahead_s
    with pytest.raises((StorageError, UserError), match=r"cannot .*: this machine's clock is not the store's: set it$"):
        ACTIONS[action](Storage(storage.uri))
    s3_outage.clock_ahead_s = 0.0
    assert storage.read("big") == b"old"


def test_one_object_that_may_not_be_read_is_no_fault_of_the_store(storage: Storage, s3_outage: FaultyS3) -> None:
    storage.write("big", b"old")
    s3_outage.forbids = lambda request: request.path.endswith("/big")
    for action in ("read", "look for"):
        with pytest.raises(PermissionError, match=r"cannot .*/out/big"):
            ACTIONS[action](storage)
    s3_outage.forbids = lambda request: True
    with pytest.raises(StorageError, match="the S3 credentials do not allow this"):
        storage.read("big")


def test_a_storage_error_travels_by_pickle_and_its_command_ends_with_its_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = pickle.loads(pickle.dumps(StorageError("cannot write x: mend it", lasting=True, number=28)))
    assert (str(error), error.lasting, error.errno) == ("cannot write x: mend it", True, 28)

    @dataclass(frozen=True)
    class Config:
        """Nothing."""

    def fail(config: Config) -> None:
        raise error

    assert command(Config, fail, [], prog="job") == 2
    assert capsys.readouterr().err == "job: cannot write x: mend it; after that the same command goes on\n"


class FromStore(Numbers):
    """Reads its items from a store, as jobs do, and tells every error as the item's, as readers do."""

    def __init__(self, source: Storage) -> None:
        super().__init__()
        self.source = source

    def prepare(self, item: Item) -> None:
        try:
            self.source.read(item.key)
        except OSError as error:
            raise ItemFailure("read", "unreadable", str(error)) from None

    def process(self, item: Item) -> Grid:
        self.prepare(item)
        return super().process(item)


@pytest.mark.usefixtures("impatient")
def test_no_item_is_blamed_for_its_store(storage: Storage, s3_outage: FaultyS3, tmp_path: Path) -> None:
    for item in number_items(3):
        storage.write(item.key, b"number")
    out, order = Storage(str(tmp_path)), ShardOrder(0, number_items(4), "plan")
    busy: Callable[[int], bool] = lambda number: True  # noqa: E731
    for expired, refuses in ((True, s3_outage.refuses), (False, busy)):
        s3_outage.expired, s3_outage.refuses = expired, refuses
        with pytest.raises(StorageError) as caught:
            make_shard(out, order, FromStore(storage))
        assert caught.value.lasting == expired
        with pytest.raises(StorageError), ThreadPoolExecutor(1) as threads:
            prepare_items(order.items, FromStore(storage), threads)
        assert os.listdir(tmp_path) == []
    s3_outage.refuses = lambda number: False
    outcome = make_shard(out, order, FromStore(storage))
    assert (outcome.made, dict(outcome.quarantined)) == (3, {"unreadable": 1})  # the fourth is not there


def test_a_full_and_then_read_only_disk_lose_nothing(tmp_path: Path) -> None:
    """On a disk of its own, of 48 kB; then nothing may be written there; then there is room."""
    code = (
        "import subprocess, sys; from pathlib import Path\n"
        "from tests.platform.numbers_job import Numbers, number_items\n"
        "from fourreal.platform.datajob.shard_task import ShardOrder, make_shard\n"
        "from fourreal.platform.storage import Storage\n"
        "def mount(*options): subprocess.run(['mount', *options, sys.argv[1]], check=True)\n"
        "mount('-t', 'tmpfs', '-o', 'size=48k', 'none')\n"
        "out, disk = Storage(sys.argv[1]), Path(sys.argv[1])\n"
        "order = lambda index: ShardOrder(index, number_items(4 * index + 4)[4 * index:], 'plan')\n"
        "def attempt():\n"
        "    for index in range(4):\n"
        "        try: make_shard(out, order(index), Numbers())\n"
        "        except OSError as error: print(type(error).__name__, error.lasting, error)\n"
        "attempt()\n"
        "names = sorted(path.name for path in disk.iterdir())\n"
        "records = [name for name in names if name.endswith('.json')]\n"
        "assert 0 < len(records) < 4, names\n"
        "assert all(name.startswith('shard-') for name in names), names\n"
        "mount('-o', 'remount,ro'); attempt(); mount('-o', 'remount,rw,size=1m'); attempt()\n"
        "for path in disk.iterdir(): (Path(sys.argv[2]) / path.name).write_bytes(path.read_bytes())\n"
    )
    for name in ("disk", "copy", "calm"):
        (tmp_path / name).mkdir()
    isolated = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", code]
    done = subprocess.run([*isolated, tmp_path / "disk", tmp_path / "copy"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert all(line.startswith("StorageError True cannot write") for line in told)
    assert told[0].endswith("the disk is full: free some space")
    assert told[-1].endswith("nothing may be written there: change its rights, or choose another place")
    calm = Storage(str(tmp_path / "calm"))
    for index in range(4):
        make_shard(calm, ShardOrder(index, number_items(16)[4 * index :][:4], "plan"), Numbers())
    assert _bytes(Storage(str(tmp_path / "copy"))) == _bytes(calm)


def _bytes(storage: Storage) -> dict[str, bytes]:
    return {e.path: storage.read(e.path) for e in storage.list() if e.path.startswith("shard-")}


@pytest.fixture
def ray_of_the_store(s3_outage: FaultyS3) -> Iterator[None]:
    """Ray whose workers know the faulty store: they have the environment of when it starts."""
    with ray_session(2):
        yield


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_of_the_store")
def test_a_job_through_every_fault_ends_with_the_undisturbed_bytes(
    storage: Storage, s3_outage: FaultyS3, tmp_path: Path
) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"3": "refuse"}')
    calm = run_data_job(numbers_job(tmp_path / "calm", 16, faults=faults))

    job = replace(numbers_job(tmp_path, 16, faults=faults), out=storage.uri)
    written = itertools.count()

    def expire(request: Request) -> bool:
        """In the middle of the run, in the middle of a request."""
        s3_outage.expired = s3_outage.expired or (".tar" in request.path and next(written) == 4)
        return False

    s3_outage.resets = expire
    with pytest.raises(StorageError, match=r"the S3 credentials have expired: renew them$"):
        run_data_job(job)
    s3_outage.expired = False
    assert 0 < len(list_shards(storage)) < 8

    dice = random.Random(0)
    s3_outage.refuses = lambda number: dice.random() < 0.1
    s3_outage.resets = lambda request: request.method == "PUT" and dice.random() < 0.1
    s3_outage.breaks_off = lambda request: request.method == "GET" and dice.random() < 0.1
    s3_outage.loses_answer = lambda request: request.method == "PUT" and dice.random() < 0.1
    s3_outage.unlisted_s = 1e9  # longer than the job takes
    stormy = run_data_job(job)
    assert (stormy.grids, stormy.missing_shards, stormy.exit_status) == (calm.grids, [], 0)
    s3_outage.unlisted_s = 0.0
    assert s3_outage.refused > 10
    assert _bytes(storage) == _bytes(Storage(str(tmp_path / "calm")))
    assert [record.key for record in list_quarantine(storage)] == ["n003"]
    assert len({grid.key for grid in read_grids(storage)}) == 15
    plan = read_plan(storage)
    assert plan is not None
    assert find_done(storage, plan).missing == []
