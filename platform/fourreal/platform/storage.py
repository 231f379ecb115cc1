"""Folders on this machine or in an object store, behind one small class.

Reading and listing go through `pyarrow.fs`. Writing is atomic in both worlds: a local file is written under a
temporary name, flushed and renamed; an object is put whole with boto3, which abandons a broken multipart upload
instead of completing it. Requests that a busy store refuses are made again. S3 credentials and `AWS_ENDPOINT_URL` come
from the environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from pyarrow import fs

from fourreal.platform.errors import UserError

_ATTEMPTS = 10
"""Of each request to an object store, with growing pauses: one that is busy (503) asks to be asked again."""
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
    """A folder: a local path, `file://...` or `s3://bucket/prefix`. Cheap to make, safe to pickle."""

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
        return fs.S3FileSystem(**options, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS))

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
        return bool(self._fs.get_file_info(self.path(name)).is_file)

    def size_bytes(self, name: str) -> int | None:
        """Size of the file `name`; None when there is none."""
        info = self._fs.get_file_info(self.path(name))
        return int(info.size) if info.is_file else None

    def list(self, folder: str = "", *, recursive: bool = False) -> list[FileEntry]:
        """Files below `folder`, sorted by path; empty when there is no such folder."""
        base = self.path(folder) if folder else self.root
        selector = fs.FileSelector(base, recursive=recursive, allow_not_found=True)
        found = [
            FileEntry(info.path[len(self.root) :].lstrip("/"), int(info.size), int(info.mtime_ns))
            for info in self._fs.get_file_info(selector)
            if info.is_file
        ]
        return sorted(found, key=lambda entry: entry.path)

    def open(self, name: str) -> BinaryIO:
        """Open the file `name` for reading. Raises FileNotFoundError."""
        stream: BinaryIO = self._fs.open_input_file(self.path(name))
        return stream

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
        """Write the file `name` atomically: readers see the old bytes or all the new ones. Raises OSError."""
        if self.is_local:
            with _replacing(Path(self.path(name))) as stream:
                stream.write(data)
        else:
            import io

            bucket, _, key = self.path(name).partition("/")
            with _os_errors(f"{self.uri}/{name}"):
                _s3_client().upload_fileobj(io.BytesIO(data), bucket, key)

    def write_file(self, name: str, source: Path) -> None:
        """Write a local file's bytes as the file `name`, atomically, without holding them in memory."""
        if self.is_local:
            with _replacing(Path(self.path(name))) as stream, source.open("rb") as original:
                shutil.copyfileobj(original, stream, 1 << 20)
        else:
            bucket, _, key = self.path(name).partition("/")
            with _os_errors(f"{self.uri}/{name}"):
                _s3_client().upload_file(str(source), bucket, key)

    def delete(self, name: str) -> None:
        """Delete the file `name`; nothing happens when there is none."""
        if self.exists(name):
            self._fs.delete_file(self.path(name))

    def delete_folder(self, name: str) -> None:
        """Delete the folder `name` with all that is in it; nothing happens when there is none."""
        if self.list(name, recursive=True):
            self._fs.delete_dir(self.path(name))

    def check_writable(self) -> None:
        """Raise UserError, before any work is done, when nothing can be written here."""
        probe = f".fourreal-write-check-{uuid.uuid4().hex}"
        try:
            self.write(probe, b"")
            self.delete(probe)
        except Exception as error:
            raise UserError(f"cannot write to {self.uri}: {error}") from error


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

    return boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": _ATTEMPTS}))


@contextmanager
def _os_errors(where: str) -> Iterator[None]:
    """What boto3 raises as an OSError, as a local disk would: whoever writes need not know where to."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise OSError(f"cannot write {where} ({error})") from error
