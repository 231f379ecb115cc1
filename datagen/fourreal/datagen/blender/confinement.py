"""What a process that opens other people's files gives up: the network, starting programs, large files.

Time and memory are the parent's to watch (`process.py`): limits of the system on them would end in errors of Blender's
own, and address space is no measure for a process that uses a GPU.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

MAX_FILE_BYTES = 2**30
"""Of each file written: a frame in EXR has some megabytes, an exported model less."""
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_REFUSED = frozenset(
    [
        *("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"),
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"),
    ]
)
"""Audit events of Python, https://docs.python.org/3.11/library/audit_events.html."""


def confine() -> None:
    """Confine this process for the rest of its life. Call it before any thread is started.

    Native code has no network either where the system lets a process have a network namespace of its own (Linux, unless
    a container's profile forbids it). Python code is refused everywhere.
    """
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, MAX_FILE_BYTES)):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
    if sys.platform == "linux":
        _leave_network()
    sys.addaudithook(_refuse)


def _leave_network() -> None:
    """Move into a network namespace without interfaces; nothing happens where that is forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:  # as root, who stays the owner of all that it can read
        return
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        # The same user and group inside: without, no file could be made.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _refuse(event: str, _: tuple[object, ...]) -> None:
    if event in _REFUSED:
        raise PermissionError(f"refused to a process that opens other people's files: {event}")
