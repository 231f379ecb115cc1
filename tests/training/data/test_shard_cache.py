"""Shards of an object store on this machine's disk, with a store and a disk that misbehave."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from squares import square_grid

from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.shards import ShardRecord, list_shards, write_shard
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import StorageError
from fourreal.training.data.batches import BatchStream, DataSettings, Prefetcher
from fourreal.training.data.catalogue import BatchShape
from fourreal.training.data.shard_cache import ShardCache
from fourreal.training.settings.groups import LoaderSettings
from fourreal.training.workers.ranks import Worker

FEW_S = 0.001
Requests = list[tuple[str, str]]


@pytest.fixture
def bucket(s3_bucket: str) -> Storage:
    """Four shards of two grids."""
    storage = Storage(f"{s3_bucket}/grids")
    for index in range(4):
        grids = [square_grid(2 * index + i, 3, 4, 16, 24) for i in range(2)]
        write_shard(storage, index, [(grid.key, encode(grid)) for grid in grids])
    return storage


@pytest.fixture
def flaky(bucket: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Storage, list[int], Requests]]:
    """The same shards behind a server that answers the next requests for a shard with the statuses of a list.

    A status of 0 breaks the connection in the middle of the answer. Also returns the requests that came.
    """
    store = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    statuses: list[int] = []
    requests: Requests = []

    class Proxy(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            requests.append((self.command, self.path))
            status = statuses.pop(0) if statuses and ".tar" in self.path and self.command == "GET" else None
            if status:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            upstream = http.client.HTTPConnection(store.hostname or "", store.port or 0)
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream.request(self.command, self.path, sent, dict(self.headers))
            answer = upstream.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "server", "date"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if status == 0 else body)
            if status == 0:
                self.close_connection = True
                self.connection.shutdown(2)

        do_GET = do_HEAD = do_PUT = do_DELETE = _pass_on  # noqa: N815 - names that the base class looks for

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield Storage(bucket.uri), statuses, requests
    server.shutdown()
    server.server_close()


def content(cache: ShardCache, storage: Storage, record: ShardRecord) -> bytes:
    with cache.open(storage, record) as stream:
        return stream.read()


def is_right(cache: ShardCache, storage: Storage, record: ShardRecord) -> bool:
    return hashlib.sha256(content(cache, storage, record)).hexdigest() == record.sha256


def shards_in(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.tar")}


def gets(requests: Requests) -> int:
    return sum(method == "GET" and ".tar" in path for method, path in requests)


def test_a_shard_is_fetched_once_and_again_when_its_copy_is_damaged(
    flaky: tuple[Storage, list[int], Requests], tmp_path: Path
) -> None:
    storage, _, requests = flaky
    record = list_shards(storage)[1]
    cache = ShardCache(tmp_path, 10**9)
    assert is_right(cache, storage, record)
    fetched = gets(requests)
    assert is_right(ShardCache(tmp_path, 10**9), storage, record)
    assert gets(requests) == fetched
    path = tmp_path / f"{record.sha256}.tar"
    for damaged in (path.read_bytes()[:-7], b"x" + path.read_bytes()[1:], b""):
        path.write_bytes(damaged)
        assert is_right(cache, storage, record)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record.sha256
    assert gets(requests) == 4 * fetched
    assert list(tmp_path.glob("*.part")) == []


def test_who_wants_a_shard_at_the_same_time_waits_for_the_one_that_fetches_it(
    flaky: tuple[Storage, list[int], Requests], tmp_path: Path
) -> None:
    storage, _, requests = flaky
    record = list_shards(storage)[0]
    assert is_right(ShardCache(tmp_path / "alone", 10**9), storage, record)
    once = gets(requests)
    with ThreadPoolExecutor(6) as threads:
        caches = [ShardCache(tmp_path / "together", 10**9) for _ in range(6)]
        assert all(threads.map(lambda cache: is_right(cache, storage, record), caches))
    assert gets(requests) == 2 * once


def test_a_store_that_slows_down_or_breaks_off_is_asked_again(
    flaky: tuple[Storage, list[int], Requests], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, statuses, _ = flaky
    records = list_shards(storage)
    cache = ShardCache(tmp_path, 10**9, first_pause_s=FEW_S)
    statuses += [503, 0]
    assert is_right(cache, storage, records[0])
    assert statuses == []
    # For longer than the S3 client puts up with by itself, which takes it minutes.
    errors = [StorageError("AWS Error SLOW_DOWN (HTTP status 503) during GetObject operation")] * 3
    really_open = Storage.open

    def busy(self: Storage, name: str) -> BinaryIO:
        if errors:
            raise errors.pop()
        return really_open(self, name)

    monkeypatch.setattr(Storage, "open", busy)
    assert is_right(cache, storage, records[1])
    assert errors == []


def test_what_cannot_be_had_is_one_sentence(flaky: tuple[Storage, list[int], Requests], tmp_path: Path) -> None:
    storage, statuses, _ = flaky
    cache = ShardCache(tmp_path, 10**9, first_pause_s=FEW_S)
    records = list_shards(storage)
    statuses += [403]
    with pytest.raises(UserError, match=r"cannot fetch .*shard-000000.tar: .*ACCESS_DENIED"):
        cache.open(storage, records[0])
    storage.write("shard-000001.tar", storage.read("shard-000002.tar"))
    with pytest.raises(UserError, match=r"shard-000001.tar could not be fetched in 8 attempts: its sha256 is not"):
        cache.open(storage, records[1])
    storage.delete("shard-000003.tar")
    with pytest.raises(UserError, match=r"shard-000003.tar is gone"):
        cache.open(storage, records[3])
    with pytest.raises(UserError, match=r"does not fit into the shard cache.*--loader.cache-gb"):
        ShardCache(tmp_path, 1000).open(storage, records[2])
    assert [path.name for path in tmp_path.iterdir()] == [".room"]


def test_what_was_used_longest_ago_makes_room(bucket: Storage, tmp_path: Path) -> None:
    records = list_shards(bucket)
    size = max(record.size_bytes for record in records)
    cache = ShardCache(tmp_path, 2 * size)
    for index in (0, 1, 0, 2):  # when 2 comes, 1 was used longest ago
        assert is_right(cache, bucket, records[index])
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * size
    assert shards_in(tmp_path) == {records[0].sha256, records[2].sha256}
    # An open shard stays readable after it made room.
    with cache.open(bucket, records[0]) as stream:
        for record in records[1:]:
            content(cache, bucket, record)
        assert records[0].sha256 not in shards_in(tmp_path)
        assert hashlib.sha256(stream.read()).hexdigest() == records[0].sha256


def test_what_a_dead_process_left_is_cleared_and_what_a_living_one_fetches_is_not(
    bucket: Storage, tmp_path: Path
) -> None:
    records = list_shards(bucket)
    abandoned, held = (tmp_path / f"{name * 64}.part" for name in "ab")
    for part in (abandoned, held):
        part.write_bytes(b"\0" * 1000)
    cache = ShardCache(tmp_path, 10**9)
    with held.open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert is_right(cache, bucket, records[0])
        assert held.exists()
        assert not abandoned.exists()
    (tmp_path / f"{records[1].sha256}.part").write_bytes(b"half")  # its own, of an earlier life
    assert is_right(cache, bucket, records[1])


def _read_all(uri: str, folder: str, limit_bytes: int, seed: int) -> None:
    storage = Storage(uri)
    records = list_shards(storage)
    cache = ShardCache(folder, limit_bytes)
    for index in np.random.default_rng(seed).integers(len(records), size=30):
        assert is_right(cache, storage, records[index])


def test_processes_share_a_cache_that_is_too_small_for_them(make_folder: Callable[..., str], tmp_path: Path) -> None:
    uri, folder = make_folder("store", shards=(3, 2, 4, 3)), tmp_path / "cache"
    size = max(record.size_bytes for record in list_shards(Storage(uri)))
    context = multiprocessing.get_context("fork")  # quick, and safe with a store on this machine's disk
    arguments = [(uri, str(folder), 3 * size, seed) for seed in range(3)]
    processes = [context.Process(target=_read_all, args=one) for one in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3 * size
    assert list(folder.glob("*.part")) == []


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Storage], str]:
    """The same folder on this machine's disk."""

    def make(storage: Storage) -> str:
        for entry in storage.list():
            Storage(str(tmp_path / "local")).write(entry.path, storage.read(entry.path))
        return str(tmp_path / "local")

    return make


def test_batches_from_the_store_are_those_from_the_disk(
    bucket: Storage, tmp_path: Path, copy_of: Callable[[Storage], str]
) -> None:
    def stream(folder: str) -> BatchStream:
        loader = LoaderSettings(cache=str(tmp_path / "cache"), fetch_ahead=3)
        shape = BatchShape("grid", 2, 3, 4, 16, 24)
        return BatchStream(DataSettings((folder,), (1.0,), (shape,), 0, loader=loader), worker=Worker(0, 1))

    local, remote = stream(copy_of(bucket)), Prefetcher(stream(bucket.uri))
    for _ in range(6):
        batch, position = remote.next()
        assert torch.equal(batch.frames, local.next().frames)
        assert position == local.position
    remote.close()
    assert len(shards_in(tmp_path / "cache")) == 4
