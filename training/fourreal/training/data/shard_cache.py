"""Shards of an object store on this machine's disk: bounded, shared by its workers, trusted only after a checksum.

A cached shard is a file named by its sha256, so a shard that changes is another file. Nothing else is kept: who is
fetching what is told by locks on the files, which end with their process. Files are opened before they are used and
may be deleted while open, so the room that `limit_bytes` gives can be made at any time, oldest use first.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fourreal.platform.errors import UserError
from fourreal.platform.shards import ShardRecord
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import StorageError

log = logging.getLogger(__name__)

_CHUNK = 8 << 20
_ATTEMPTS = 8
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0


class ShardCache:
    """See the top of this module. `limit_bytes` bounds the files in `folder`, those in the making included."""

    def __init__(self, folder: str | Path, limit_bytes: int, first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self.folder, self.limit_bytes, self._first_pause_s = Path(folder).expanduser(), limit_bytes, first_pause_s
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot keep shards in {folder} ({error.strerror}): give another cache folder") from None

    def open(self, storage: Storage, record: ShardRecord) -> BinaryIO:
        """A whole, verified copy of a shard, open for reading; its name may be gone at any time after.

        Raises UserError when it cannot be had, or is not what its record says.
        """
        whole = self.folder / f"{record.sha256}.tar"
        stream = _open_whole(whole, record)
        if stream is None:
            with _locked(whole.with_suffix(".part")) as part:
                stream = _open_whole(whole, record)
                if stream is None:  # nobody else has fetched it while this one waited
                    self._make_room(record.size_bytes, part)
                    self._fetch(storage, record, part)
                    stream = part.open("rb")
                    part.rename(whole)
        return stream

    def _fetch(self, storage: Storage, record: ShardRecord, part: Path) -> None:
        where = f"{storage.uri.rstrip('/')}/{record.name}"
        pause_s = self._first_pause_s
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                problem = _copy(storage, record, part)
            except FileNotFoundError:
                raise UserError(f"{where} is gone though its record is there: run the job that made it again") from None
            except OSError as error:
                if not isinstance(error, StorageError) or error.lasting:
                    raise UserError(f"cannot fetch {where}: {error}") from error
                problem = " ".join(str(error).split())
            if problem is None:
                return
            if attempt == _ATTEMPTS:
                raise UserError(f"{where} could not be fetched in {_ATTEMPTS} attempts: {problem}")
            log.warning("%s: %s; trying again in %.1f s", where, problem, pause_s)
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # not all workers at once
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _make_room(self, wanted_bytes: int, mine: Path) -> None:
        """Delete what was used longest ago, and what a process that has died left unfinished, until there is room."""
        with (self.folder / ".room").open("ab") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for part in self.folder.glob("*.part"):
                if part != mine:
                    _delete_if_abandoned(part)
            files = [(path, stat) for path in self.folder.iterdir() if (stat := _stat(path))]
            used = sum(stat.st_size for _, stat in files)
            for path, stat in sorted(files, key=lambda entry: entry[1].st_mtime_ns):
                if used + wanted_bytes > self.limit_bytes and path.suffix == ".tar":
                    path.unlink(missing_ok=True)
                    used -= stat.st_size
            if used + wanted_bytes > self.limit_bytes:
                raise UserError(
                    f"a shard of {wanted_bytes / 1e6:.0f} MB does not fit into the shard cache {self.folder} of "
                    f"{self.limit_bytes / 1e6:.0f} MB: raise --loader.cache-gb"
                )
            os.truncate(mine, wanted_bytes)  # reserves the room: whoever comes next counts it


def _open_whole(path: Path, record: ShardRecord) -> BinaryIO | None:
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return None
    fits = os.fstat(stream.fileno()).st_size == record.size_bytes
    if fits and hashlib.file_digest(stream, "sha256").hexdigest() == record.sha256:
        os.utime(stream.fileno())  # the order in which shards make room
        stream.seek(0)
        return stream
    stream.close()
    log.warning("%s in the shard cache is damaged: it is fetched again", path.name)
    path.unlink(missing_ok=True)
    return None


@contextmanager
def _locked(part: Path) -> Iterator[Path]:
    """A shard's unfinished file: one process or thread at a time has it, and one that dies lets go of it."""
    while True:
        file = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file, part):  # whoever had it before has made the shard of it, or given up
                continue
            try:
                yield part
            finally:
                if _is_at(file, part):
                    part.unlink()
            return
        finally:
            os.close(file)


def _is_at(file: int, path: Path) -> bool:
    stat = _stat(path)
    return stat is not None and os.path.samestat(os.fstat(file), stat)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _delete_if_abandoned(part: Path) -> None:
    try:
        file = os.open(part, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink(missing_ok=True)
    except BlockingIOError:  # it is being fetched
        pass
    finally:
        os.close(file)


def _copy(storage: Storage, record: ShardRecord, part: Path) -> str | None:
    """Copy the shard's bytes; returns what is wrong with them, if anything is."""
    digest = hashlib.sha256()
    size_bytes = 0
    with storage.open(record.name) as source, part.open("r+b") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            digest.update(chunk)
            size_bytes += len(chunk)
        target.truncate(size_bytes)
    if size_bytes != record.size_bytes:
        return f"it has {size_bytes} bytes where its record says {record.size_bytes}"
    return None if digest.hexdigest() == record.sha256 else "its sha256 is not the one in its record"
