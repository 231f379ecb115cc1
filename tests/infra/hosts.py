"""Machines of a cluster on this one: network namespaces with addresses of their own, joined by a bridge.

Wants root and iproute2. All of them see one file system, so what they share is in the object store on the bridge.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fourreal.platform.runtime import LOCAL_ENVIRONMENT

_PORT = 6379
_SOON_DEAD = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4"}
"""A host that does not answer is given up after seconds, for tests to be short."""


class Host:
    """One of them."""

    def __init__(self, name: str, address: str, environment: Mapping[str, str], folder: Path) -> None:
        self.name, self.address, self.environment, self.folder = name, address, dict(environment), folder
        self._starts = 0

    def popen(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command there."""
        with log.open("wb") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command], stdout=output, stderr=output, env=self.environment
            )

    def start_ray(self, cpus: int, head: Host | None = None) -> None:
        """Start Ray's part there, the head or one that joins it, without waiting."""
        self._starts += 1
        place = ["--head", f"--port={_PORT}", "--include-dashboard=false"] if head is None else [head.ray_option]
        options = [f"--node-ip-address={self.address}", f"--num-cpus={cpus}", "--disable-usage-stats", "--block"]
        self._log = self.folder / f"{self.name}-{self._starts}.log"
        self._ray = self.popen([sys.executable, "-m", "ray.scripts.scripts", "start", *place, *options], self._log)

    def wait_for_ray(self) -> None:
        """Return when it has started."""
        deadline = time.monotonic() + 240
        while b"Ray runtime started" not in self._log.read_bytes():
            assert self._ray.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)

    @property
    def ray_address(self) -> str:
        """For RAY_ADDRESS, where this is the head."""
        return f"{self.address}:{_PORT}"

    @property
    def ray_option(self) -> str:
        """What joins others to this head."""
        return f"--address={self.ray_address}"

    def process_ids(self) -> list[int]:
        """All that runs there."""
        return [int(line) for line in _ip("netns", "pids", self.name).split()]

    def kill(self) -> None:
        """`kill -9` to all that runs there, as when the power goes."""
        while found := self.process_ids():
            for process_id in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
            time.sleep(0.1)

    def cut(self) -> None:
        """Nothing comes there or goes from there any more."""
        _ip("link", "set", f"{self.name}b", "down")

    def heal(self) -> None:
        """The network is there again."""
        _ip("link", "set", f"{self.name}b", "up")


@contextmanager
def hosts(count: int, folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, list[Host]]]:
    """So many hosts, and the address of this side of the bridge. `environment` is what is added to this process's."""
    number = os.getpid() % 200 + 20
    bridge, net = f"fr{number}", f"10.213.{number}"
    ours = {name: value for name, value in os.environ.items() if name not in {*LOCAL_ENVIRONMENT, "RAY_ADDRESS"}}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "GLOO_SOCKET_IFNAME": "eth0"}
    place = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # of their own, and short: there are sockets in it
    everywhere = {**ours, **token, **_SOON_DEAD, "RAY_TMPDIR": place, **environment}
    made: list[Host] = []
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{net}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for index in range(count):
            name, address = f"{bridge}n{index}", f"{net}.{index + 1}"
            _ip("netns", "add", name)
            made.append(Host(name, address, everywhere, folder))
            _ip("link", "add", f"{name}b", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", f"{name}b", "master", bridge, "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield f"{net}.254", made
    finally:
        for host in made:
            host.kill()
            # At once: with its namespace it would go some time later, and the next host has its name.
            subprocess.run(["ip", "link", "del", f"{host.name}b"], check=False, capture_output=True)
            _ip("netns", "del", host.name)
        subprocess.run(["ip", "link", "del", bridge], check=False)
        shutil.rmtree(place, ignore_errors=True)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
