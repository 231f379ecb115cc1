"""The child's life: take a request, do it, answer, until the parent is gone.

Usage (by `worker.py` only): python -m fourreal.datagen.blender.inside <socket descriptor> <parent's process id>
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fourreal.datagen.blender.confinement import confine
from fourreal.datagen.blender.failure import WorkerFailure
from fourreal.datagen.blender.protocol import receive, send

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests; never returns to the interpreter's own exit."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    confine()
    _die_with(parent)  # after that: a change of what a process may do makes Linux forget the wish
    connection = socket.socket(fileno=descriptor)
    with _seeing_one_core():
        from fourreal.datagen.blender.inside.session import Session

        session = Session()
    send(connection, {"ready": True})
    while True:
        try:
            request, block = receive(connection)
        except (EOFError, ConnectionError):
            break
        try:
            answer = _answer(session, request, block)
        finally:
            if block is not None:
                os.close(block)
        send(connection, answer)
    # Blender's own tear-down at exit prints leaks and can crash in Cycles; there is nothing left to save.
    os._exit(0)


@contextmanager
def _seeing_one_core() -> Iterator[None]:
    """Import Blender inside: it starts as many threads as the cores that it is allowed then.

    There is a worker for each core, and a second thread is no faster: its waiting alone took two thirds of a core.
    """
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def _answer(session: Any, request: dict[str, Any], block: int | None) -> dict[str, Any]:
    try:
        return {"result": session.handle(request, block)}
    except WorkerFailure as failure:
        return {"reason": failure.reason, "message": failure.message}
    except Exception as error:
        traceback.print_exc()
        return {"reason": "error", "message": f"{type(error).__name__}: {error}"}


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent ends, however it ends.

    Elsewhere the end of the connection does it, once the request at hand is done.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    main()
