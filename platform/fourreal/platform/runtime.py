"""Ray on this machine: token authentication on, every port on loopback; or the cluster one is already in."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fourreal.platform.errors import UserError

DASHBOARD_PORT = 8265
_OURS = "FOURREAL_OWN_RAY"

# The second line makes Ray take 127.0.0.1 for this node's address, as it does on macOS; on Linux it would look for
# one that other hosts can reach and listen there, even when told otherwise (ray.init(_node_ip_address=...)).
LOCAL_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def ray_session(cpus: int | None = None) -> Iterator[None]:
    """Connect to the cluster named by RAY_ADDRESS, or run one on this machine for as long as the block lasts.

    `cpus` bounds the local one (default: all cores). Inside a `ray job submit` RAY_ADDRESS is set by Ray. A
    session that is open already is used as it is.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")  # read when ray.train is imported
    address = os.environ.get("RAY_ADDRESS", "")
    if not address or address.startswith("127."):
        os.environ.update(LOCAL_ENVIRONMENT)  # read at Ray's import, and by the processes that it starts
    import ray

    if ray.is_initialized():
        yield
        return
    if address:
        ray.init(address="auto")
    else:
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()


def join_environment(address: str) -> dict[str, str]:
    """What tells processes started by this one, whose `ray_session` is at that address, to use it as theirs."""
    return {"RAY_ADDRESS": address, _OURS: address}


def ray_is_ours() -> bool:
    """Whether Ray ends with the command that is running: one of this machine alone, without a dashboard."""
    address = os.environ.get("RAY_ADDRESS")
    return not address or os.environ.get(_OURS) == address


def compute_in_this_thread() -> None:
    """For Ray's workers: OpenCV would start a thread for each core of the machine in each of them."""
    import cv2

    cv2.setNumThreads(1)


def check_gpu_share(share: float) -> None:
    """UserError for a part of a GPU that no worker can take."""
    if not 0 < share <= 1:
        raise UserError(f"--gpu-share is {share:g}: give a part of a GPU, above 0 and at most 1")


def start_head(cpus: int | None = None, dashboard_port: int = DASHBOARD_PORT) -> str:
    """Start a Ray head on loopback that outlives this process, for `ray job submit`; returns its address.

    Raises UserError with Ray's own words when it does not start.
    """
    if _answers(dashboard_port):
        raise UserError(
            f"something answers on port {dashboard_port} already: use it, or stop it first (fourreal cluster stop)"
        )
    arguments = ["start", "--head", "--block", "--include-dashboard=true", "--dashboard-host=127.0.0.1"]
    arguments += [f"--dashboard-port={dashboard_port}", "--disable-usage-stats"]
    # Ray's default ports may be taken by a job's own session on this machine, which would leave no agent for jobs.
    for option in ("port", "dashboard-agent-listen-port", "ray-client-server-port"):
        arguments.append(f"--{option}={_free_port()}")
    if cpus is not None:
        arguments.append(f"--num-cpus={cpus}")
    os.environ.update(LOCAL_ENVIRONMENT)
    _ensure_token()
    record = _head_record(dashboard_port)
    record.parent.mkdir(parents=True, exist_ok=True)
    log = record.with_suffix(".log")
    with log.open("wb") as output:
        head = subprocess.Popen(_ray(arguments), stdout=output, stderr=output, start_new_session=True)
    record.write_text(str(head.pid))
    address = f"http://127.0.0.1:{dashboard_port}"
    try:
        _wait(lambda: head.poll() is not None or _takes_jobs(address), f"Ray takes no jobs at {address}: see {log}")
        if head.poll() is not None:
            raise UserError(f"Ray did not start: {log.read_text().strip()[-500:]}")
    except UserError:
        stop_head(dashboard_port)
        raise
    return address


def stop_head(dashboard_port: int = DASHBOARD_PORT) -> bool:
    """Stop the head that `start_head` started for this port, and nothing else; False when there is none.

    (`ray stop` would stop every Ray process of this user, other people's jobs included.)
    """
    import psutil

    record = _head_record(dashboard_port)
    if not record.exists():
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        head = psutil.Process(int(record.read_text()))
        if "--head" in head.cmdline():
            family = [head, *head.children(recursive=True)]
            head.terminate()
            _, alive = psutil.wait_procs(family, timeout=10)
            for process in alive:
                process.kill()
            psutil.wait_procs(alive, timeout=10)
    record.unlink(missing_ok=True)  # who stopped it at the same time may have been faster
    return True


def _head_record(dashboard_port: int) -> Path:
    """File that holds the process id of the head on this port."""
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local/state")) / f"fourreal/ray-{dashboard_port}.pid"


def _answers(dashboard_port: int) -> bool:
    """Whether something listens on the job server's port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", dashboard_port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ray(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts", *arguments]


def _takes_jobs(address: str) -> bool:
    """Whether a job is accepted; the server answers some seconds before there is an agent to run one."""
    from ray.job_submission import JobSubmissionClient

    try:
        JobSubmissionClient(address).submit_job(entrypoint="true")
    except (ConnectionError, RuntimeError):
        return False
    return True


def _ensure_token() -> None:
    if not (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        subprocess.run(_ray(["get-auth-token", "--generate"]), capture_output=True, check=True)


def _wait(condition: Callable[[], bool], complaint: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise UserError(complaint)
        time.sleep(0.5)
