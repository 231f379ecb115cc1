"""The child process itself: spawned so that it cannot outlive its parent, watched, and killed with its group."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from fourreal.datagen.blender.failure import WorkerFailure
from fourreal.datagen.blender.protocol import receive, send
from fourreal.datagen.scratch import ScratchFolder
from fourreal.platform.redaction import is_secret

_TAIL_BYTES = 4000
_POLL_S = 0.05
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 2.0

# Linux ends the child when the *thread* that started it ends (PR_SET_PDEATHSIG), and a job may ask from threads that
# come and go. This one lives as long as the process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="blender-spawner")


class ChildProcess:
    """One running `python -m fourreal.datagen.blender.inside`. Raises WorkerFailure when it does not start."""

    def __init__(self, stage: str, memory_limit_bytes: int) -> None:
        self._memory_limit_bytes = memory_limit_bytes
        self._folder = ScratchFolder("blender")
        self._output = (self._folder.path / "output.log").open("a+b")
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = _spawner.submit(self._spawn, theirs.fileno()).result()
        self._status = psutil.Process(self._process.pid)
        try:
            self._wait(stage, time.monotonic() + _START_TIMEOUT_S, _START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise

    @property
    def process_id(self) -> int:
        """Of the child, and of the process group that it leads."""
        return self._process.pid

    def ask(self, stage: str, request: dict[str, Any], descriptor: int | None, timeout_s: float) -> dict[str, Any]:
        """Send a request and wait for its answer; the child is of no use after a WorkerFailure from here.

        Raises WorkerFailure: timeout, memory, crash.
        """
        deadline = time.monotonic() + timeout_s
        os.ftruncate(self._output.fileno(), 0)  # the tail is of this request; the child appends
        self._connection.settimeout(timeout_s)
        try:
            send(self._connection, request, descriptor)
        except TimeoutError:
            raise self._timed_out(stage, timeout_s) from None
        except OSError:
            raise self._crashed(stage) from None
        return self._wait(stage, deadline, timeout_s)

    def memory_bytes(self) -> int:
        """Resident memory; 0 when the child is gone."""
        try:
            return int(self._status.memory_info().rss)
        except psutil.Error:
            return 0

    def tail(self) -> str:
        """The end of what the child wrote during the last request, without Blender's progress lines."""
        size_bytes = os.fstat(self._output.fileno()).st_size
        offset = max(0, size_bytes - 64 * _TAIL_BYTES)
        text = os.pread(self._output.fileno(), size_bytes - offset, offset).decode(errors="replace")
        lines = [line for line in text.splitlines() if line and not line.startswith("Fra:")]
        return "\n".join(lines)[-_TAIL_BYTES:]

    def stop(self) -> None:
        """End the child and all that it started: by closing the connection, then by force."""
        self._connection.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
        self._output.close()
        self._folder.close()

    def _spawn(self, descriptor: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "fourreal.datagen.blender.inside", str(descriptor), str(os.getpid())]
        return subprocess.Popen(
            command,
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=self._environment(),
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not is_secret(name)},
            # Wherever the parent found this package, the child finds the same one.
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PYTHONHASHSEED": "0",  # so that nothing in an exported file hangs on the order of a set
            "OMP_NUM_THREADS": "1",
            # Every render takes and gives back the same tens of megabytes: handed back to the kernel each time, the
            # page faults are a third of what a small frame costs.
            "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
            "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
            "MALLOC_TOP_PAD_": str(16 * 2**20),
            # Neither a user's own Blender settings and add-ons, nor files left behind by a kill.
            "BLENDER_USER_RESOURCES": str(self._folder.path),
            "TMPDIR": str(self._folder.path),
        }

    def _wait(self, stage: str, deadline: float, timeout_s: float) -> dict[str, Any]:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while not poll.poll(1000.0 * _POLL_S):
            if time.monotonic() > deadline:
                raise self._timed_out(stage, timeout_s)
            if self.memory_bytes() > self._memory_limit_bytes:
                self._kill()
                limit = f"{self._memory_limit_bytes / 2**20:.0f} MiB"
                raise WorkerFailure(stage, "memory", f"Blender grew past {limit}", self.tail())
        self._connection.settimeout(max(1.0, deadline - time.monotonic()))
        try:
            return receive(self._connection)[0]
        except TimeoutError:
            raise self._timed_out(stage, timeout_s) from None
        except (EOFError, OSError, ValueError):
            raise self._crashed(stage) from None

    def _timed_out(self, stage: str, timeout_s: float) -> WorkerFailure:
        self._kill()
        return WorkerFailure(stage, "timeout", f"no answer within {timeout_s:g} s", self.tail())

    def _crashed(self, stage: str) -> WorkerFailure:
        try:
            code = self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            return WorkerFailure(stage, "crash", "Blender broke off its answer", self.tail())
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return WorkerFailure(stage, "crash", f"Blender {how}", self.tail())

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
