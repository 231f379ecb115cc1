"""Folders on this machine or in an object store, behind one small class.

Reading and listing go through `pyarrow.fs`. Writing is atomic in both worlds: a local file is written under a
temporary name, flushed and renamed; an object is put whole with boto3, which abandons a broken multipart upload
instead of completing it. Requests that a busy store refuses are made again; what then still fails is a StorageError.
S3 credentials and `AWS_ENDPOINT_URL` come from the environment.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import random
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from pyarrow import fs

from fourreal.platform.errors import UserError
from fourreal.platform.storage_errors import StorageError, disk_errors, is_refusal, store_error

_ATTEMPTS = 10
"""Of each request to an object store, with growing pauses: one that is busy (503) asks to be asked again."""
_PAUSES_S = [min(0.1 * 2**attempt, 20.0) for attempt in range(_ATTEMPTS - 1)]
_STILL_S = 60.0
"""An object store that says nothing for so long is asked again; pyarrow's own patience is 3 s."""
_BUFFER_BYTES = 1 << 20
"""Object stores answer requests, not reads: so much is asked for at a time."""
_READERS = 32
_READ_AHEAD = 1024
"""Files asked for before the first of them is handed on."""
_SCHEME = re.compile(r"^([a-z0-9+.-]+)://(.*)$")


@dataclass(frozen=True)
class FileEntry:
    """A file in a folder: its path relative to the folder, its size, and when it was last changed."""

    path: str
    size_bytes: int
    changed_ns: int
    """Since 1970 by the clock of the store, which counts whole seconds where it is an object store."""


@dataclass(frozen=True)
class Storage:
    """A folder: a local path, `file://...` or `s3://bucket/prefix`. Cheap to make, safe to pickle.

    Its methods raise StorageError where an object store fails, or writing to a disk does.
    """

    uri: str

    def __post_init__(self) -> None:
        match = _SCHEME.match(self.uri)
        if match and match[1] not in ("file", "s3"):
            raise UserError(f"cannot use {self.uri}: give a local folder or an s3:// address")
        if match and match[1] == "s3" and not match[2].strip("/"):
            raise UserError(f"{self.uri} names no bucket: write s3://bucket/prefix")

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine's file system."""
        return not self.uri.startswith("s3://")

    @property
    def root(self) -> str:
        """The folder in the terms of its file system: an absolute path, or `bucket/prefix`."""
        if not self.is_local:
            return self.uri.removeprefix("s3://").strip("/")
        return str(Path(self.uri.removeprefix("file://")).expanduser().absolute())

    @cached_property
    def _fs(self) -> Any:
        if self.is_local:
            return fs.LocalFileSystem()
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        options = {"region": region} if region else {}
        if endpoint:
            match = _SCHEME.match(endpoint)
            if not match:
                raise UserError(f"AWS_ENDPOINT_URL is {endpoint!r}: write it with http:// or https://")
            options |= {"scheme": match[1], "endpoint_override": match[2], "region": region or "us-east-1"}
        retries = fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
        return fs.S3FileSystem(**options, request_timeout=_STILL_S, retry_strategy=retries)

    def __getstate__(self) -> dict[str, str]:
        return {"uri": self.uri}

    def child(self, name: str) -> Storage:
        """The folder `name` inside this one."""
        return Storage(f"{self.uri.rstrip('/')}/{_inside(name)}")

    def path(self, name: str) -> str:
        """Full path of `name` in the terms of the file system."""
        return f"{self.root}/{_inside(name)}"

    def exists(self, name: str) -> bool:
        """Whether there is a file `name`."""
        return self.size_bytes(name) is not None

    def size_bytes(self, name: str) -> int | None:
        """Size of the file `name`; None when there is none."""
        path = self.path(name)
        with self._told("look for", name):
            info = self._fs.get_file_info(path)
        return int(info.size) if info.is_file else None

    def list(self, folder: str = "", *, recursive: bool = False) -> list[FileEntry]:
        """Files below `folder`, sorted by path; empty when there is no such folder."""
        base = self.path(folder) if folder else self.root
        selector = fs.FileSelector(base, recursive=recursive, allow_not_found=True)
        with self._told("list", folder):
            infos = self._fs.get_file_info(selector)
        found = [
            FileEntry(info.path[len(self.root) :].lstrip("/"), int(info.size), int(info.mtime_ns))
            for info in infos
            if info.is_file
        ]
        return sorted(found, key=lambda entry: entry.path)

    def open(self, name: str) -> BinaryIO:
        """Open the file `name` for reading. Raises FileNotFoundError."""
        path = self.path(name)
        with self._told("read", name):
            stream: BinaryIO = self._fs.open_input_file(path)
        if self.is_local:
            return stream
        return io.BufferedReader(_ObjectReader(stream, self, name), _BUFFER_BYTES)

    def read(self, name: str) -> bytes:
        """The bytes of the file `name`. Raises FileNotFoundError."""
        with self.open(name) as stream:
            return stream.read()

    def sha256(self, *names: str) -> str:
        """Of the bytes of these files, one after the other. Raises FileNotFoundError."""
        digest = hashlib.sha256()
        for name in names:
            with self.open(name) as stream:
                while block := stream.read(1 << 24):
                    digest.update(block)
        return digest.hexdigest()

    def read_many(self, names: Sequence[str]) -> Iterator[bytes]:
        """The bytes of the files, in this order; of an object store several are asked for at a time.

        Raises FileNotFoundError.
        """
        if self.is_local:
            yield from map(self.read, names)
            return
        with ThreadPoolExecutor(_READERS) as readers:
            for first in range(0, len(names), _READ_AHEAD):
                yield from readers.map(self.read, names[first : first + _READ_AHEAD])

    def write(self, name: str, data: bytes) -> None:
        """Write the file `name` atomically: readers see the old bytes or all the new ones. Raises StorageError."""
        path = self.path(name)
        with self._told("write", name):
            if self.is_local:
                with _replacing(Path(path)) as stream:
                    stream.write(data)
            else:
                bucket, _, key = path.partition("/")
                _s3_client().upload_fileobj(io.BytesIO(data), bucket, key)

    def write_file(self, name: str, source: Path) -> None:
        """Write a local file's bytes as the file `name`, atomically, without holding them in memory."""
        path = self.path(name)
        with self._told("write", name):
            if self.is_local:
                with _replacing(Path(path)) as stream, source.open("rb") as original:
                    shutil.copyfileobj(original, stream, 1 << 20)
            else:
                bucket, _, key = path.partition("/")
                _s3_client().upload_file(str(source), bucket, key)

    def delete(self, name: str) -> None:
        """Delete the file `name`; nothing happens when there is none."""
        if self.exists(name):
            with self._told("delete", name):
                self._fs.delete_file(self.path(name))

    def delete_folder(self, name: str) -> None:
        """Delete the folder `name` with all that is in it; nothing happens when there is none."""
        if self.list(name, recursive=True):
            with self._told("delete", name):
                self._fs.delete_dir(self.path(name))

    def check_writable(self) -> None:
        """Raise UserError, before any work is done, when nothing can be written here."""
        probe = f".fourreal-write-check-{uuid.uuid4().hex}"
        try:
            self.write(probe, b"")
            self.delete(probe)
        except StorageError as error:
            raise UserError(str(error)) from error

    @contextmanager
    def _told(self, action: str, name: str) -> Iterator[None]:
        """Errors within are told as StorageErrors; what is missing stays a FileNotFoundError."""
        where = f"{self.uri.rstrip('/')}/{name}".rstrip("/")
        if self.is_local:
            if action not in ("write", "delete"):
                yield
                return
            with disk_errors(where):
                yield
            return
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except FileNotFoundError as error:
            if "NO_SUCH_BUCKET" not in str(error):
                raise
            raise store_error(action, where, error) from error
        except (Boto3Error, BotoCoreError, ClientError, OSError) as error:
            reason = self._reason() if is_refusal(error) else ""
            if action in ("read", "look for") and is_refusal(error) and not reason:  # of this object alone
                raise PermissionError(f"cannot {action} {where} ({error})") from None
            raise store_error(action, where, error, reason) from error

    def _reason(self) -> str:
        """What the object store says of being asked for anything at all."""
        try:
            _s3_client().list_objects_v2(Bucket=self.root.partition("/")[0], MaxKeys=1)
        except Exception as error:
            return str(error)
        return ""


class _ObjectReader(io.RawIOBase):
    """An object's stream that tells its errors as Storage does."""

    def __init__(self, stream: Any, storage: Storage, name: str) -> None:
        self._stream, self._storage, self._name = stream, storage, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        return int(self._asked(lambda: self._stream.readinto(buffer)))

    def readall(self) -> bytes:
        return bytes(self._asked(self._stream.read))

    def _asked(self, read: Callable[[], Any]) -> Any:
        """What is read; asked again where the store's refusal was longer than the object, which pyarrow does not do."""
        with self._storage._told("read", self._name):
            for pause_s in _PAUSES_S:
                try:
                    return read()
                except OSError as error:
                    if "Failed to flush response stream" not in str(error):
                        raise
                    time.sleep(random.uniform(0.5, 1.0) * pause_s)
            return read()

    def close(self) -> None:
        self._stream.close()
        super().close()


def _inside(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        raise UserError(f"{name!r} leaves its folder")
    return name


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file when the block ends, and are gone when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


def _s3_client() -> Any:
    import boto3
    from botocore.config import Config

    logging.getLogger("botocore").setLevel(logging.WARNING)  # it tells of each client where its settings are from
    return boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": _ATTEMPTS}))
