"""A cluster of several hosts, with addresses of their own, that die, lose their network and come late."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.faulty_s3 import FaultyS3, serving
from tests.infra.hosts import Host, hosts
from tests.platform.numbers_job import Numbers, number_items

from fourreal.platform.codec import encode
from fourreal.platform.datajob.plan import make_plan
from fourreal.platform.datajob.shard_task import ShardOrder, make_shard
from fourreal.platform.grid import Grid
from fourreal.platform.shards import list_shards, write_shard
from fourreal.platform.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow]
SHARDS = 48
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[Host], str]]:
    """Three hosts on which nothing runs yet, and a bucket that all of them reach."""
    import boto3

    environment = dict(KEYS)
    with hosts(3, tmp_path, environment) as (bridge, made), serving(FaultyS3(), bridge) as address:
        for host in made:
            host.environment |= {"AWS_ENDPOINT_URL": address, "RAY_ADDRESS": made[0].ray_address}
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="several-hosts")
        yield made, "s3://several-hosts"


def wait(condition: Callable[[], bool], log: Path, timeout_s: float = 240.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(0.1)


def join(head: Host, *others: Host) -> None:
    """One after the other: they look for free names in the same folder."""
    for host in others:
        host.start_ray(1, head)
        host.wait_for_ray()


def names(host: Host) -> list[str]:
    """Of all that runs there."""
    return [psutil.Process(process_id).cmdline()[0] for process_id in host.process_ids()]


def calm_shards(folder: Path) -> dict[str, bytes]:
    """What an undisturbed run makes."""
    items, out = number_items(SHARDS), Storage(str(folder))
    plan = make_plan("numbers", {"views": 2}, items, 1)
    for index in range(plan.shard_count):
        make_shard(out, ShardOrder(index, plan.items_of(index), plan.fingerprint), Numbers())
    return shards_of(out)


def shards_of(out: Storage) -> dict[str, bytes]:
    return {entry.path: out.read(entry.path) for entry in out.list() if entry.path.startswith("shard-")}


def test_a_data_job_on_hosts_that_come_late_die_lose_their_network_and_their_head(
    cluster: tuple[list[Host], str], tmp_path: Path
) -> None:
    (head, one, two), bucket = cluster
    out, log = Storage(f"{bucket}/numbers"), tmp_path / "driver.log"
    code = (
        "from dataclasses import replace; from pathlib import Path\n"
        "from tests.platform.numbers_job import numbers_job; from fourreal.platform.datajob import run_data_job\n"
        f"job = numbers_job(Path('unused'), {SHARDS}, pause_s=0.5, items_per_shard=1, workers=2)\n"
        f"raise SystemExit(run_data_job(replace(job, out={out.uri!r})).exit_status)\n"
    )
    drive = [sys.executable, "-c", code]
    wanted = (
        "from ray.autoscaler.v2.sdk import get_cluster_status; import os, json\n"
        "status = get_cluster_status(os.environ['RAY_ADDRESS'])\n"
        "demands = status.resource_demands.ray_task_actor_demand\n"
        "print(json.dumps([dict(entry.bundle) for demand in demands for entry in demand.bundles_by_count]))\n"
    )

    head.start_ray(0)  # as in a cluster that grows from nothing but its head
    head.wait_for_ray()
    driver = head.popen(drive, log)
    ask = ["ip", "netns", "exec", head.name, sys.executable, "-c", wanted]

    def is_asked_for() -> bool:
        done = subprocess.run(ask, env=head.environment, capture_output=True, text=True)
        return done.returncode == 0 and {"CPU": 1.0} in json.loads(done.stdout.splitlines()[-1])

    wait(is_asked_for, log)
    join(head, one, two)
    wait(lambda: len(list_shards(out)) >= 6, log)
    assert driver.poll() is None, log.read_text()
    one.kill()
    wait(lambda: len(list_shards(out)) >= 12, log)
    join(head, one)  # another machine in its place
    two.cut()
    wait(lambda: len(list_shards(out)) >= 20, log)
    two.heal()
    wait(lambda: len(list_shards(out)) >= 24, log)
    assert driver.poll() is None, log.read_text()
    head.kill()  # and with it the driver
    driver.wait()
    assert len(list_shards(out)) < SHARDS
    for host in (one, two):
        host.kill()
    head.start_ray(1)
    head.wait_for_ray()
    join(head, one)
    again = head.popen(drive, log)
    assert again.wait(300) == 0, log.read_text()
    assert shards_of(out) == calm_shards(tmp_path / "calm")


def test_training_goes_on_when_it_loses_a_host(
    cluster: tuple[list[Host], str], tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    (head, one, two), bucket = cluster
    grids = [make_grid(f"g{i}", 3, 3, 16, 24, seed=i) for i in range(6)]
    write_shard(Storage(f"{bucket}/data"), 0, [(grid.key, encode(grid)) for grid in grids])
    out, log = Storage(f"{bucket}/run"), tmp_path / "driver.log"
    shape = ["--model.size=nano", "--model.height=16", "--model.width=24", "--views=3", "--times=3", "--batch-size=1"]
    often = ["--steps=300", "--checkpoints.every=20", "--samples.every=0", "--workers=2"]
    often += [f"--loader.cache={tmp_path / 'cache'}"]
    head.start_ray(1)
    head.wait_for_ray()
    join(head, one, two)
    command = [sys.executable, "-m", "fourreal.training.train", "--data", f"{bucket}/data", f"--out={out.uri}"]
    driver = head.popen([*command, *shape, *often], log)
    wait(lambda: out.exists("checkpoints/step-00000040/manifest.json") or driver.poll() is not None, log)
    lost = next(host for host in (one, two) if "ray::RayTrainWorker" in names(host))
    lost.kill()
    assert driver.wait(400) == 0, log.read_text()
    assert json.loads(out.read("result.json"))["steps"] == 300
    assert "going on from the checkpoint at" in log.read_text()
