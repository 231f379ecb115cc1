from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.conftest import ROOT

from fourreal.platform import submit, video
from fourreal.platform.errors import UserError
from fourreal.platform.runtime import join_environment, ray_is_ours, stop_head
from fourreal.platform.submit import ROOMS, entrypoint, runtime_env

LOOPBACK = ("127.", "::1", "::ffff:127.")

OPEN_SESSION = """
import sys
from fourreal.platform.runtime import ray_session
with ray_session(1):
    import ray
    ray.get(ray.remote(lambda: 1).remote())
    print("ready", ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""


def test_ray_is_ours_where_the_command_or_the_one_that_started_it_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", *join_environment("")):
        monkeypatch.delenv(name, raising=False)
    assert ray_is_ours()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert not ray_is_ours()
    for name, value in join_environment("127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    assert ray_is_ours()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    assert not ray_is_ours()


@pytest.fixture(scope="module")
def session() -> Iterator[tuple[psutil.Process, str]]:
    command = [sys.executable, "-c", OPEN_SESSION]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("ready"))
    yield psutil.Process(process.pid), line.split()[1]
    process.communicate("", timeout=60)


@pytest.mark.ray
@pytest.mark.slow
class TestLocalSession:
    def test_every_port_is_on_loopback(self, session: tuple[psutil.Process, str]) -> None:
        listening = [
            (process.name(), connection.laddr.ip)
            for process in [session[0], *session[0].children(recursive=True)]
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) > 3
        assert [entry for entry in listening if not entry[1].startswith(LOOPBACK)] == []

    def test_nobody_connects_without_the_token(self, session: tuple[psutil.Process, str]) -> None:
        code = "import ray, sys; ray.init(address=sys.argv[1]); print('connected')"
        stranger = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        stranger |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # looks for the cluster on loopback, as we do
        stranger |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        command = [sys.executable, "-c", code, session[1]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        both = (stranger, {**stranger, "RAY_AUTH_MODE": "disabled"})  # side by side: each gives up after its time
        tries = [subprocess.Popen(command, **pipes, text=True, env=environment) for environment in both]
        for process in tries:
            output, _ = process.communicate(timeout=240)
            assert "connected" not in output


def _run(arguments: list[str], environment: dict[str, str], timeout_s: float = 200) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout_s, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    still, moving = (rng.integers(30, 220, (h, w, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
                     for h, w in ((32, 48), (12, 12)))  # fmt: skip
    frames = np.repeat(still[None], 12, axis=0)
    for t in range(12):
        frames[t, 30:78, 20 + 4 * t : 68 + 4 * t] = moving
    (tmp_path / "videos").mkdir()
    video.write_video(tmp_path / "videos" / "moving.mp4", frames, fps=10)
    return tmp_path / "videos"


def _bare_python(folder: Path) -> Path:
    """A virtual environment with every package of this one but fourreal, whose installation is a `.pth` file."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], dict(os.environ))
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    (folder / "lib/python3.11/site-packages/others.pth").write_text(packages)
    return folder / "bin"


def _detach_attach_and_stop(environment: dict[str, str]) -> None:
    """Jobs outlive who submitted them, end with their own exit status, and end when told."""
    submit = [sys.executable, "-m", "fourreal.platform.submit", "--address", "http://127.0.0.1:8299"]
    refused = _run([*submit, "--no-wait", "inspect", "/nowhere"], environment)
    job_id = refused.split("--attach ")[1].split()[0]
    attached = subprocess.run(
        [*submit, "--attach", job_id], env=environment, capture_output=True, text=True, timeout=240
    )
    assert "/nowhere holds no shards" in attached.stdout
    assert attached.returncode == 2, attached.stderr
    long_id = _run([*submit, "--no-wait", "ui", "--port", "8298"], environment).split("--attach ")[1].split()[0]
    assert "STOPPED" in _run([*submit, "--stop", long_id], environment)
    assert "ended already" in _run([*submit, "--stop", long_id], environment)
    unknown = subprocess.run(
        [*submit, "--attach", "nothing"], env=environment, capture_output=True, text=True, timeout=240
    )
    assert unknown.returncode == 2
    assert "knows no job nothing" in unknown.stderr
    assert job_id in unknown.stderr


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("how", ["installed", "shipped"])
@pytest.mark.timeout(420)
def test_a_job_runs_by_ray_job_submit(how: str, tmp_path: Path, videos: Path) -> None:
    """On a cluster with the package, and on one that has only what the job's working directory brings."""
    bin_folder = Path(sys.executable).parent if how == "installed" else _bare_python(tmp_path / "bare")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHONPATH"))}
    environment |= {"PATH": f"{bin_folder}:{environment['PATH']}", "PYTHONPATH": str(ROOT / "platform")}
    here = {**environment, "RAY_AUTH_MODE": "token"}
    start = [sys.executable, "-m", "fourreal.platform.cluster", "start", "--cpus", "2", "--port", "8299"]
    cluster_python = {**environment, "PYTHONPATH": ""}
    if how == "shipped":
        importable = subprocess.run(
            ["python", "-c", "import fourreal.platform"], env=cluster_python, capture_output=True
        )
        assert importable.returncode != 0, "the bare environment has fourreal: this test would prove nothing"
        start[0] = str(bin_folder / "python")
    job = ["python", "-m", "fourreal.datagen.synthesize", "--videos", str(videos), "--out", str(tmp_path / "out")]
    job += ["--views", "2", "--times", "3", "--height", "24", "--width", "32", "--stride", "1"]
    submit = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", "http://127.0.0.1:8299"]
    if how == "shipped":
        shipped = {"excludes": [".git", ".venv", "outputs"], "env_vars": {"PYTHONPATH": ":".join(ROOMS)}}
        submit += ["--working-dir", str(ROOT), "--runtime-env-json", json.dumps(shipped)]
    try:
        _run(start, here if how == "shipped" else {**here, "PYTHONPATH": ""})
        log = _run([*submit, "--", *job], here)
        assert "synthesize: done" in log
        inspect = [sys.executable, "-m", "fourreal.platform.inspection", str(tmp_path / "out"), "--json"]
        document = json.loads(_run(inspect, here))
        assert (document["grids"], document["quarantined"]) == (4, 0)
        if how == "installed":
            _detach_attach_and_stop(here)
    finally:
        _run([sys.executable, "-m", "fourreal.platform.cluster", "stop", "--port", "8299"], here)


def test_a_head_that_two_people_stop_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one, who is a little faster, takes the record away while this one waits for the head to end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    record = tmp_path / "fourreal/ray-8297.pid"
    record.parent.mkdir()
    stopped = "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (os.unlink(sys.argv[2]), sys.exit()))\n"
    head = subprocess.Popen(
        [sys.executable, "-c", f"{stopped}print(flush=True)\nsignal.pause()", "--head", str(record)],
        stdout=subprocess.PIPE,
    )
    assert head.stdout is not None
    head.stdout.readline()
    record.write_text(str(head.pid))
    assert stop_head(8297)
    assert head.wait(10) == 0
    assert not stop_head(8297)


def test_a_connection_that_ends_is_no_failed_job() -> None:
    class Client:
        def get_job_info(self, job_id: str) -> None: ...

        async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
            yield "begins\n"
            raise RuntimeError("WebSocket connection closed unexpectedly")

    with pytest.raises(UserError, match=r"no longer answers .*closed unexpectedly.* --attach job-1 follows it again"):
        submit._follow_to_the_end(Client(), "job-1")


def test_the_submitted_command_is_the_modules_own() -> None:
    assert entrypoint(["render", "--out", "a b"]) == "python -m fourreal.datagen.render --out 'a b'"
    for job in ([], ["rendr"]):
        with pytest.raises(UserError, match="write the command"):
            entrypoint(job)


def test_source_is_shipped_without_its_environment_and_secrets_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    shipped = runtime_env("source", ROOT)
    assert shipped["working_dir"] == str(ROOT)
    assert ".venv" in shipped["excludes"]
    assert shipped["env_vars"]["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert "hush" not in json.dumps(shipped)
    for name in ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "https://user:hush@server")
        with pytest.raises(UserError, match=f"{name} holds a password") as error:
            runtime_env("installed", ROOT)
        assert "hush" not in str(error.value)
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match="the command holds a password"):
        entrypoint(["render", "--out", "s3://key:hush@bucket/out"])
    with pytest.raises(UserError, match="no fourreal checkout"):
        runtime_env("source", tmp_path)
