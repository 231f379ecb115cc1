"""A limit of time that holds against a decoder that hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")


class DeadlineError(Exception):
    """The work took longer than it may."""


class _Call(threading.Thread, Generic[ResultT]):
    """One call in a thread that nobody has to wait for."""

    def __init__(self, work: Callable[[], ResultT]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.result: list[ResultT] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self.work())
        except BaseException as error:  # is raised again by whoever waits
            self.error = error


def within(limit_s: float, work: Callable[[], ResultT]) -> ResultT:
    """Return `work()`, or raise DeadlineError when it takes longer than `limit_s`.

    Decoders release the interpreter's lock, so even one that never returns does not hold up whoever waits here. Its
    thread is given up with what it holds; a child process could be killed, but would cost every clip its copy.
    """
    call = _Call(work)
    call.start()
    call.join(limit_s)
    if call.error is not None:
        try:
            raise call.error
        finally:
            # The error knows this frame, which knows the call: such a ring would keep a clip's frames for long.
            del call
    if not call.result:
        raise DeadlineError(f"it took more than {limit_s:g} s")
    return call.result[0]
