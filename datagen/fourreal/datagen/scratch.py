"""Folders for a moment that no kill leaves behind for good: the next one that is made deletes those of the dead.

The owner of a folder holds a lock on a file in it. The system drops the lock when the owner ends, however it ends; a
folder whose lock is free belongs to nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path

_PREFIX = "fourreal-scratch-"
_LOCK = ".lock"
_UNFINISHED_S = 3600.0
"""An empty folder without a lock that is older than this was left by a kill in the moment when it was made."""


class ScratchFolder:
    """A folder in the system's place for temporary files, for as long as this object or until `close`."""

    def __init__(self, purpose: str) -> None:
        delete_abandoned(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
        unnamed = self.path / f"{_LOCK}.new"
        lock = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        unnamed.rename(self.path / _LOCK)  # only now, with the lock held, does it say that the folder has an owner
        self._finalizer = weakref.finalize(self, _end, self.path, lock)

    def close(self) -> None:
        """Delete the folder."""
        self._finalizer()


def delete_abandoned(place: Path) -> None:
    """Delete this user's scratch folders in `place` whose owner has ended."""
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # gone by now, or another's
            if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
                continue
            if not (folder / _LOCK).exists():
                if time.time() - folder.stat().st_mtime > _UNFINISHED_S:
                    (folder / f"{_LOCK}.new").unlink(missing_ok=True)
                    folder.rmdir()
            elif is_abandoned(folder):
                _delete(folder)


def is_abandoned(folder: Path) -> bool:
    """Whether nobody holds the lock of a scratch folder. Raises OSError when it is gone."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _end(folder: Path, lock: int) -> None:
    _delete(folder)
    os.close(lock)


def _delete(folder: Path) -> None:
    """The lock goes last, so that what a kill leaves of this can be deleted too."""
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != _LOCK:
                entry.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
