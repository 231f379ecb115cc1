"""The jobs of other rooms, started as what they are: commands, in processes of their own."""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

from fourreal.platform.errors import UserError
from fourreal.platform.runtime import join_environment, ray_session

_SHARES = 10_000
"""Parts in which Ray counts a GPU."""


class Jobs:
    """Runs `fourreal COMMAND ...`; all of them share one Ray, which is started with the first job."""

    def __init__(self, logs: Path, session: ExitStack) -> None:
        self._logs, self._session = logs, session
        self._ray: str | None = None
        self._lock = Lock()

    def run(self, name: str, command: str, arguments: Sequence[str]) -> None:
        """Run a command to its end; its output goes to `NAME.log`. UserError with its last words when it fails."""
        log = self._logs / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        print(f"$ fourreal {command} {shlex.join(arguments)}", flush=True)
        environment = {**os.environ, **join_environment(self.ray())}
        line = [sys.executable, "-m", "fourreal.platform.cli", command, *arguments]
        with log.open("ab") as output:
            status = subprocess.run(line, stdout=output, stderr=output, env=environment, check=False).returncode
        if status:
            last = [text for text in log.read_text(errors="replace").splitlines() if text.strip()][-1:]
            raise UserError(
                f"{name} ended with status {status} ({''.join(last)[:300]}): see {log}; the same command goes on"
            )

    def gpu_share(self, parallel: int) -> float:
        """The part of a GPU for each of so many processes at a time; 1 where there is one for each, or none at all."""
        self.ray()
        import ray

        gpus = ray.cluster_resources().get("GPU", 0)
        return min(1.0, math.floor(_SHARES * gpus / parallel) / _SHARES) if gpus else 1.0

    def ray(self) -> str:
        """Address of the Ray that all jobs share. It ends with the study, and so do they, however that ends."""
        with self._lock:
            if self._ray is None:
                self._session.enter_context(ray_session(os.cpu_count()))
                import ray

                self._ray = str(ray.get_runtime_context().gcs_address)
            return self._ray
