"""The folder of downloaded files: what is in it is whole, whoever was killed while filling it."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import requests

from fourreal.datagen.objaverse.http import DownloadFailure, receive
from fourreal.datagen.objaverse.settings import Downloads
from fourreal.datagen.objaverse.verify import Check, check_glb, check_sha256

_LONGEST_WAIT_S = 60.0
_ABANDONED_S = 86400.0
"""A temporary file this old belongs to nobody."""


class Cache:
    """Gets files from a server into a folder; safe from any number of threads and processes at a time."""

    def __init__(self, downloads: Downloads) -> None:
        self.downloads = downloads
        self.folder = Path(downloads.cache).expanduser().absolute()
        self._fetched: set[Path] = set()
        """What was downloaded by this object, and may be deleted by it: the folder is shared with others."""
        self._sessions = threading.local()
        self._locks: dict[Path, threading.Lock] = {}
        self._locks_lock = threading.Lock()
        self._jitter = random.Random()  # not from the job's seed: workers that fail together must not return together

    def glb(self, name: str, address: str, sha256: str = "") -> Path:
        """The .glb file `name`, of this sha256 where it is known. See `get`."""
        return self.get(name, address, partial(check_sha256, sha256=sha256) if sha256 else check_glb)

    def get(self, name: str, address: str, check: Check) -> Path:
        """The file `name` of the folder, downloaded from `address` when it is not there or is broken.

        `address` is relative to the server, or absolute. Raises DownloadFailure.
        """
        path = self.path(name)
        with self._alone(path):
            if path.exists():
                try:
                    check(path)
                    return path
                except FileNotFoundError:
                    pass  # deleted just now, by another worker that needs it no more
                except DownloadFailure:
                    path.unlink(missing_ok=True)
            self._download(urljoin(f"{self.downloads.url.rstrip('/')}/", address), path, check)
            self._fetched.add(path)
        return path

    def release(self, name: str) -> None:
        """Delete the file `name` where files are not kept, unless it was there before: then it is somebody else's."""
        path = self.path(name)
        if not self.downloads.keep and path in self._fetched:
            self._fetched.discard(path)  # first: another thread may be about to download it again
            path.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Where the file `name` is, or would be. Raises ValueError for a name that leads out of the folder."""
        path = Path(os.path.normpath(self.folder / name))
        if self.folder not in path.parents:
            raise ValueError(f"{name!r} leaves the folder {self.folder}")
        return path

    def _download(self, url: str, path: Path, check: Check) -> None:
        for attempt in range(1, self.downloads.attempts + 1):
            try:
                return self._attempt(url, path, check)
            except DownloadFailure as failure:
                failure.attempts = attempt
                if not failure.passing or attempt == self.downloads.attempts:
                    raise
                # Full jitter: those that failed together come back spread over the whole wait.
                wait_s = self._jitter.uniform(0.0, self.downloads.backoff_s * 2 ** (attempt - 1))
                time.sleep(min(max(wait_s, failure.wait_s), _LONGEST_WAIT_S))
        raise AssertionError("attempts is at least 1")

    def _attempt(self, url: str, path: Path, check: Check) -> None:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _delete_abandoned(path)
            with temporary.open("wb") as stream:
                received = receive(self._session(), url, stream, self.downloads)
                stream.flush()
                os.fsync(stream.fileno())
            if received.published_sha256 and received.published_sha256 != received.sha256:
                said = f"{url} has sha256 {received.sha256}, its server says {received.published_sha256}"
                raise DownloadFailure("checksum", said, passing=True)
            check(temporary)
            temporary.replace(path)
        except OSError as error:
            raise DownloadFailure("disk", f"{url} cannot be kept in {path.parent}: {error}") from None
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _session(self) -> requests.Session:
        """One for each thread: connections are kept open, and sessions are not for sharing."""
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        session: requests.Session = self._sessions.session
        return session

    @contextlib.contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Let one thread of this process look after `path`; two processes would at worst download it twice."""
        with self._locks_lock:
            lock = self._locks.setdefault(path, threading.Lock())
        with lock:
            yield


def _delete_abandoned(path: Path) -> None:
    """Delete what a killed process left of this file."""
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - temporary.stat().st_mtime > _ABANDONED_S:
                temporary.unlink()
