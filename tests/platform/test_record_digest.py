from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fourreal.platform import record_digest
from fourreal.platform.record_digest import DIGEST, write_digest
from fourreal.platform.shards import ShardRecord, is_record, list_shards, record_bytes, record_name
from fourreal.platform.storage import Storage


def _records(count: int) -> list[ShardRecord]:
    return [ShardRecord(i, 100 + i, "0" * 64, (f"key-{i}",), plan="plan") for i in range(count)]


@pytest.fixture(params=["local", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path))
    return Storage(f"{request.getfixturevalue('s3_bucket')}/out")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the records that are opened."""
    names: list[str] = []
    read: Callable[[Storage, str], bytes] = Storage.read

    def reading(self: Storage, name: str) -> bytes:
        names.append(name)
        return read(self, name)

    monkeypatch.setattr(Storage, "read", reading)
    return names


def _lay_out(out: Storage, records: list[ShardRecord]) -> None:
    for record in records:
        out.write(record_name(record.index), record_bytes(record))


def _settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the records had been written long before the digest."""
    monkeypatch.setattr(record_digest, "_SETTLED_NS", -1)


@pytest.mark.parametrize("rows", [2, 2048])
def test_a_digest_changes_what_is_opened_and_nothing_else(
    rows: int, out: Storage, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_digest, "_ROWS", rows)
    _settle(monkeypatch)
    records = _records(7)
    _lay_out(out, records)
    assert list_shards(out) == records
    assert write_digest(out, is_record) == 7
    opened.clear()
    assert list_shards(out) == records
    assert opened == [DIGEST]
    # One gone, one changed, one new: the listing decides.
    out.delete(record_name(0))
    changed = replace(records[3], keys=("another", "key"))
    _lay_out(out, [changed, *_records(8)[7:]])
    opened.clear()
    assert list_shards(out) == [*records[1:3], changed, *records[4:], *_records(8)[7:]]
    assert sorted(opened) == [DIGEST, record_name(3), record_name(7)]


def test_a_record_changed_within_the_clocks_tick_is_opened(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Storage(str(tmp_path))
    (record,) = _records(1)
    _lay_out(out, [record])
    write_digest(out, is_record)
    stamp = os.stat(out.path(record_name(0)))
    other = replace(record, sha256="1" * 64)  # of the same size
    _lay_out(out, [other])
    os.utime(out.path(record_name(0)), ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert list_shards(out) == [other]
    _settle(monkeypatch)
    assert list_shards(out) == [record], "the digest is not looked at: this test proves nothing"


def test_a_digest_that_is_none_is_passed_over(tmp_path: Path) -> None:
    out = Storage(str(tmp_path))
    _lay_out(out, _records(3))
    out.write(DIGEST, b"PAR1 no parquet")
    assert list_shards(out) == _records(3)


@pytest.mark.parametrize("jump_s", [-1e6, -1.0, 1.0, 1e6])
def test_a_clock_that_jumps_makes_no_old_record_pass_for_a_new_one(tmp_path: Path, jump_s: float) -> None:
    """The records are of before the jump, the digest and a record that is written again are of after it."""
    out, before, names = Storage(str(tmp_path)), _records(3), [record_name(index) for index in range(3)]
    _lay_out(out, before)
    now = time.time()
    for name in names:
        os.utime(tmp_path / name, (now - 100, now - 100))
    write_digest(out, is_record)
    os.utime(tmp_path / DIGEST, (now + jump_s, now + jump_s))
    assert list_shards(out) == before
    after = [replace(before[0], sha256="1" * 64), *before[1:]]  # of the same size
    _lay_out(out, after[:1])
    os.utime(tmp_path / names[0], (now + jump_s, now + jump_s))
    assert list_shards(out) == after
