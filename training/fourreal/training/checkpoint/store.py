"""Checkpoints on disk or in an object store: written whole, verified before use, pruned.

    step-00000040/            one checkpoint; all workers' files side by side
        manifest.json         written last: size and sha256 of every other file

A folder without a manifest was interrupted and is no checkpoint. Ray's own checkpoint manager is not used: it keeps no
checksums, leaves the part of a failed upload behind, and starts no run whose newest checkpoint is damaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fourreal.platform.documents import parse_object
from fourreal.platform.errors import shortened
from fourreal.platform.storage import Storage
from fourreal.training.settings.groups import CheckpointSettings
from fourreal.training.workers import ranks
from fourreal.training.workers.ranks import Worker
from fourreal.training.workers.stopping import Stopped

MANIFEST_FILE = "manifest.json"
_PREFIX = "step-"
_COMPLETE = re.compile(rf"{_PREFIX}(?P<step>[0-9]+)/{re.escape(MANIFEST_FILE)}")
T = TypeVar("T")


@dataclass(frozen=True)
class FileSum:
    """What a file must be."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint whose every byte is as it was written, in a local folder, and what was wrong with newer ones."""

    step: int
    folder: Path
    shared: bool
    """Whether all workers were given this folder, not each its own copy."""
    damaged: tuple[str, ...]


class CheckpointStore:
    """The checkpoints of a stage. All workers make one, and call its methods at the same time.

    What they say to each other goes through a process group of its own, so that `save` may run in a thread.
    """

    def __init__(self, storage: Storage, settings: CheckpointSettings, worker: Worker) -> None:
        self.storage, self.settings, self.worker = storage, settings, worker
        self._group = ranks.side_group()

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, newest first."""
        names = (_COMPLETE.fullmatch(entry.path) for entry in self.storage.list(recursive=True))
        return sorted((int(name["step"]) for name in names if name), reverse=True)

    def save(self, step: int, write: Callable[[Path], None]) -> str | None:
        """Save what `write` puts into a folder (this worker's files), then delete checkpoints that are too many.

        Returns what went wrong on any worker, the same on all of them: then nothing is left of this checkpoint, and
        the older ones are as they were.
        """
        name, leads = _name(step), self.worker.rank == 0
        sums: dict[str, FileSum] = {}
        problem = self._agree(lambda: self.storage.delete_folder(name) if leads else None)
        if problem is None:
            problem = self._agree(lambda: sums.update(self._write_part(name, write)))
        if problem is None:
            files = {path: vars(total) for part in self._gather(sums) for path, total in part.items()}
            document = {"step": step, "workers": self.worker.world, "files": files}
            text = json.dumps(document, indent=1, sort_keys=True).encode()
            problem = self._agree(lambda: self.storage.write(f"{name}/{MANIFEST_FILE}", text) if leads else None)
        if leads:  # what is left behind by a failure here, the next checkpoint deletes
            _attempt(lambda: self._prune(step) if problem is None else self.storage.delete_folder(name))
        return problem

    @contextmanager
    def newest(self) -> Iterator[FoundCheckpoint | None]:
        """The newest checkpoint that is whole; None when there is none at all.

        Stopped when there are checkpoints and each is damaged: starting again would hide the loss.
        """
        damaged: list[str] = []
        for step in self._gather(self.steps())[0]:  # hosts may list a shared folder differently for a while
            with self._local(step) as folder:
                problem = _first(self._gather(self._problem(step, folder)))
                if problem is None:
                    yield FoundCheckpoint(step, folder, self.storage.is_local, tuple(damaged))
                    return
            damaged.append(f"the checkpoint at step {step} is damaged ({problem})")
        if damaged:
            raise Stopped(f"{damaged[0]}, and no older one is whole: delete {self.storage.uri} to start again")
        yield None

    def _agree(self, action: Callable[[], object]) -> str | None:
        """Do something on every worker; what went wrong on the first for which it did, the same on all."""
        return _first(self._gather(_attempt(action)))

    def _gather(self, value: T) -> list[T]:
        return ranks.gather(value, self._group)

    def _write_part(self, name: str, write: Callable[[Path], None]) -> dict[str, FileSum]:
        # On the storage's own disk when it is local: files need to be renamed only, and are written once.
        target = Path(self.storage.path(name)) if self.storage.is_local else None
        if target:
            target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=target) as part:
            write(Path(part))
            files = [path for path in sorted(Path(part).rglob("*")) if path.is_file()]
            sums = {}
            for path in files:
                relative = path.relative_to(part).as_posix()
                sums[relative] = _sum(path)
                if target:
                    _sync(path)
                    (target / relative).parent.mkdir(parents=True, exist_ok=True)
                    path.replace(target / relative)
                else:
                    self.storage.write_file(f"{name}/{relative}", path)
        return sums

    def _problem(self, step: int, folder: Path) -> str | None:
        """What is wrong with the files that this worker looks at: its share, or all where it has a copy of its own."""
        try:
            document = parse_object((folder / MANIFEST_FILE).read_bytes())["files"]
            files = {name: FileSum(**wanted) for name, wanted in document.items()}
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            return f"{MANIFEST_FILE} cannot be read"
        names = sorted(files)
        for name in names[self.worker.rank :: self.worker.world] if self.storage.is_local else names:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                return f"{shortened(name)!r} leaves its folder"
            wanted, path = files[name], folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != wanted.size_bytes:
                return f"{name} has {path.stat().st_size} bytes, not {wanted.size_bytes}"
            if _sum(path) != wanted:
                return f"{name} does not match its sha256"
        return None

    @contextmanager
    def _local(self, step: int) -> Iterator[Path]:
        name = _name(step)
        if self.storage.is_local:
            yield Path(self.storage.path(name))
            return
        with tempfile.TemporaryDirectory() as folder:
            self._bring(name, MANIFEST_FILE, Path(folder))
            for relative in _named_in(Path(folder)):  # by name: a listing may lag behind
                self._bring(name, relative, Path(folder))
            yield Path(folder)

    def _bring(self, name: str, relative: str, folder: Path) -> None:
        """Copy a file of a checkpoint here; `_problem` says of one that is not there."""
        path = folder / relative
        with contextlib.suppress(FileNotFoundError), self.storage.open(f"{name}/{relative}") as source:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)

    def _prune(self, newest: int) -> None:
        """Delete the checkpoints that the settings do not keep, and what interruptions left.

        What lies ahead of the newest is damaged: a run that could have used it would not have come from behind it.
        """
        steps = [step for step in self.steps() if step <= newest]
        if newest not in steps:  # a listing that lags behind: the next one prunes
            return
        kept = steps[: self.settings.keep]
        kept += [step for step in steps if self.settings.keep_every and step % self.settings.keep_every == 0]
        keep = {_name(step) for step in kept}
        for name in {entry.path.split("/")[0] for entry in self.storage.list(recursive=True)} - keep:
            if name.startswith(_PREFIX):
                # The manifest first: half deleted it must not look like a damaged one.
                self.storage.delete(f"{name}/{MANIFEST_FILE}")
                self.storage.delete_folder(name)


def _named_in(folder: Path) -> list[str]:
    """The files that a manifest names; none where it cannot be read, which `_problem` says."""
    try:
        return sorted(json.loads((folder / MANIFEST_FILE).read_text())["files"])
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return []


def _name(step: int) -> str:
    return f"{_PREFIX}{step:08d}"


def _attempt(action: Callable[[], object]) -> str | None:
    """None, or what went wrong. torch.save reports a failed write as a RuntimeError."""
    try:
        action()
    except (OSError, RuntimeError) as error:
        return str(error).splitlines()[0] or type(error).__name__
    return None


def _first(problems: Sequence[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def _sum(path: Path) -> FileSum:
    with path.open("rb") as stream:
        return FileSum(path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
