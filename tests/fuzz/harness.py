"""What every fuzz target has in common: an input, what is done with it, and what may come of it."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

LONGEST_SENTENCE = 1500


@dataclass(frozen=True)
class Target:
    """`inputs` makes hostile inputs, `use` reads one in an empty folder as the product does, and returns or raises.

    Only `refusals` may be raised, with one sentence.
    """

    name: str
    inputs: Callable[[], st.SearchStrategy[Any]]
    use: Callable[[Any, Path], object]
    refusals: tuple[type[Exception], ...]
    cost: int = 1
    """How many times longer than others an execution takes: the suite runs fewer of them."""


class Fault(AssertionError):
    """The product did with an input what it must not do."""


def execute(target: Target, given: Any, folder: Path) -> None:
    """Use one input. Raises whatever is neither a result nor a refusal, and Fault."""
    for name in os.listdir(folder):
        _remove(folder / name)
    tempfile.tempdir = str(folder)
    with watching(folder) as touched:
        try:
            target.use(given, folder)
        except target.refusals as refusal:
            sentence = str(refusal)
            if not sentence or "\n" in sentence.strip() or len(sentence) > LONGEST_SENTENCE:
                raise Fault(
                    f"a refusal that is no sentence: {sentence[:200]!r} ({len(sentence)} characters)"
                ) from refusal
    if touched:
        raise Fault(f"files outside the folder: {sorted(touched)}")


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "shutil.rmtree")
_watched: list[tuple[str, set[str]]] = []


@contextmanager
def watching(folder: Path) -> Iterator[set[str]]:
    """Collects the names of files outside a folder that are opened for writing, removed or renamed, or are secrets."""
    _hook()
    touched: set[str] = set()
    _watched.append((str(folder.resolve()), touched))
    try:
        yield touched
    finally:
        _watched.pop()


@functools.cache
def _hook() -> None:
    """Audit hooks stay for the life of a process: one, which looks only while something is watched."""

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        if _watched and (event == "open" or event in _CHANGES):
            _see(event, arguments)

    sys.addaudithook(see)


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):
        return
    changes = event != "open" or bool((arguments[2] or 0) & _WRITING)
    folder, touched = _watched[-1]
    name = os.path.realpath(os.fsdecode(path))
    inside = name.startswith((folder + os.sep, "/proc/", "/dev/"))
    if ("/outside/" in name or name == "/etc/passwd") or (changes and not inside):
        touched.add(name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for name in os.listdir(path):
            _remove(path / name)
        path.rmdir()
    else:
        path.unlink()
