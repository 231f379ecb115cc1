"""What is in infra/: that files agree with one another, and that every command in them is one that exists."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT

from fourreal.platform.cli import COMMANDS
from fourreal.platform.datajob import metrics
from fourreal.training.report.metrics import EXPORTED

INFRA = ROOT / "infra"
METRICS_PORT = 8080


def _yaml(name: str) -> Any:
    return yaml.safe_load((INFRA / name).read_text())


COMPOSE = _yaml("compose/compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
RAYCLUSTER = _yaml("kuberay/raycluster.yaml")
AWS = _yaml("aws/cluster.yaml")
CONTAINERFILE = (INFRA / "Containerfile").read_text().replace("\\\n", " ")
GROUPS = [RAYCLUSTER["spec"]["headGroupSpec"], *RAYCLUSTER["spec"]["workerGroupSpecs"]]
JOBS = sorted((INFRA / "kuberay/jobs").glob("*.yaml"))


def _check_ray_start(words: list[str]) -> None:
    """Ray's own parser takes the words of a `ray start`."""
    from ray.scripts.scripts import start

    assert words[:2] == ["ray", "start"]
    start.make_context("start", words[2:])


def _walk(document: Any) -> Iterator[tuple[str, Any]]:
    """Each name with its value, at any depth."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield name, value
            yield from _walk(value)
    elif isinstance(document, list):
        for value in document:
            yield from _walk(value)


def _images() -> Iterator[str]:
    yield from re.findall(r"^ARG \w+_IMAGE=(\S+)", CONTAINERFILE, re.M)
    yield from (service["image"] for service in SERVICES.values())
    kustomization = _yaml("kuberay/kustomization.yaml")
    yield from (f"{image['newName']}:{image['newTag']}" for image in kustomization["images"])
    yield from (value for name, value in _walk(AWS) if name in ("image", "worker_image"))


def test_every_image_has_a_version_and_ours_is_that_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", CONTAINERFILE, re.M))
    images = list(_images())
    assert len(images) > 10
    for image in images:
        name, _, tag = image.rpartition(":")
        assert re.match(r"v?\d+\.\d+", tag), image
        if name.split("/")[-1] == "fourreal":
            number, _, target = tag.partition("-")
            assert (number, target in targets) == (version, True), image


def test_the_recipe_installs_what_is_pinned_as_a_user_without_rights() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    stages = {part.split()[2]: part for part in re.split(r"^FROM ", CONTAINERFILE, flags=re.M) if " AS " in part}
    assert {"cpu", "render", "gpu", "mlflow"} <= set(stages)
    for install in re.findall(r"pip install[^&\n]*", CONTAINERFILE):
        assert "--constraint /src/constraints.txt" in install, install
        for names in re.findall(r"/src\[([\w,]+)\]", install):
            assert set(names.split(",")) <= set(extras), install
    for line in re.findall(r"^COPY (?!--from)(.*)", CONTAINERFILE, re.M):
        assert all((ROOT / path).exists() for path in line.split()[1:-1]), line
    bases = {name: part.split()[0] for name, part in stages.items()}
    for name in ("cpu", "render", "gpu", "mlflow"):
        chain, user = name, None
        while chain in stages and user is None:
            users = re.findall(r"^USER (\S+)", stages[chain], re.M)
            chain, user = bases[chain], users[-1] if users else None
        assert user == "fourreal", f"{name} runs as {user}"


def test_compose_mounts_files_that_exist_and_publishes_on_loopback_alone() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", CONTAINERFILE, re.M))
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            known = source in COMPOSE["volumes"] or (INFRA / "compose" / source).exists()
            assert known, f"{name} mounts {source}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        if "build" in service:
            assert service["build"]["target"] in targets
            assert (INFRA / "compose" / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        for needed in service.get("depends_on", []):
            assert needed in SERVICES
        for variable, value in service.get("environment", {}).items():
            host = re.fullmatch(r"https?://([\w-]+):\d+", str(value))
            assert host is None or host[1] in SERVICES, f"{name}: {variable} is {value}"


def test_composes_secrets_are_files_that_the_script_makes_and_each_has_a_value_of_its_own(tmp_path: Path) -> None:
    script = ["sh", str(INFRA / "compose/make-secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(script, check=True, capture_output=True)
    before = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run(script, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == before
    assert len(set(before.values())) == len(before)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    wanted = {name: Path(secret["file"]).name for name, secret in COMPOSE["secrets"].items()}
    assert set(wanted.values()) <= set(before)
    keys = json.loads(before["s3.json"])["identities"][0]["credentials"][0]
    assert keys["secretKey"] in before["aws_credentials"]
    assert before["mlflow_admin"] in before["mlflow_credentials"]
    for name, service in SERVICES.items():
        granted = [s if isinstance(s, str) else s["source"] for s in service.get("secrets", [])]
        assert set(granted) <= set(wanted), name
        text = json.dumps(service)
        assert set(re.findall(r"/run/secrets/([\w.]+)", text)) <= set(granted), name
        passwords = [v for v in service.get("environment", {}) if re.search(r"PASSWORD|SECRET|TOKEN|KEY", v)]
        assert all(v.endswith(("_FILE", "_PATH")) for v in passwords), f"{name} has {passwords} in its environment"


def test_composes_ray_starts_and_prometheus_finds_it() -> None:
    for name in ("ray-head", "ray-worker"):
        words = shlex.split(SERVICES[name]["command"])
        _check_ray_start(words)
        assert f"--metrics-export-port={METRICS_PORT}" in words
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
    (scraped,) = _yaml("compose/prometheus.yaml")["scrape_configs"]
    assert scraped["honor_labels"]  # or the label `job` would be `ray` for all data jobs
    (discovery,) = scraped["dns_sd_configs"]
    assert (discovery["names"], discovery["port"]) == (["ray-head", "ray-worker"], METRICS_PORT)


def _program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


def test_mlflow_starts_with_its_passwords_in_no_command_line(tmp_path: Path) -> None:
    from mlflow.cli import server

    subprocess.run(["sh", str(INFRA / "compose/make-secrets.sh"), str(tmp_path)], check=True, capture_output=True)
    _program(tmp_path, "mlflow", 'printf "%s\\n" "$@" > "$OUT/words"; cp -p "$MLFLOW_AUTH_CONFIG_PATH" "$OUT/ini"')
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SECRETS_FOLDER": str(tmp_path), "OUT": str(tmp_path)}
    subprocess.run(["sh", str(INFRA / "compose/mlflow.sh")], check=True, env=environment)
    command, *words = (tmp_path / "words").read_text().splitlines()
    assert command == "server"
    context = server.make_context("server", words)
    assert (context.params["app_name"], context.params["port"]) == ("basic-auth", 5000)
    secrets = [(tmp_path / name).read_text() for name in ("postgres_password", "mlflow_admin", "mlflow_session_key")]
    assert not any(secret in word for secret in secrets for word in words)
    assert all(secret in (tmp_path / "ini").read_text() for secret in secrets[:2])
    assert (tmp_path / "ini").stat().st_mode & 0o777 == 0o600


def test_the_buckets_of_the_stack_are_made_once(s3_bucket: str) -> None:
    import sys

    import boto3

    words = shlex.split(SERVICES["buckets"]["command"])
    assert words[:2] == ["python", "/make_buckets.py"]
    for _ in range(2):
        subprocess.run([sys.executable, str(INFRA / "compose/make_buckets.py"), *words[2:]], check=True)
    assert set(words[2:]) <= {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]}


def test_kuberays_cluster_is_one_that_rays_autoscaler_reads() -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr as derive

    types = derive({**RAYCLUSTER, "metadata": {"name": "fourreal", "namespace": "x"}})["available_node_types"]
    gpus = {name: kind["resources"].get("GPU", 0) for name, kind in types.items()}
    assert gpus == {"headgroup": 0, "render": 0, "train": 8, "gpu": 1}
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert all(kind["min_workers"] == 0 for kind in types.values())
    version = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray=="))
    assert f"ray=={RAYCLUSTER['spec']['rayVersion']}" == version
    assert RAYCLUSTER["spec"]["authOptions"] == {"mode": "token"}


def test_kuberays_pods_have_no_rights_no_secrets_of_their_own_and_time_to_save() -> None:
    images = {image["name"] for image in _yaml("kuberay/kustomization.yaml")["images"]}
    for group in GROUPS:
        parameters = group["rayStartParams"]
        _check_ray_start(["ray", "start", *(["--head"] if group is GROUPS[0] else ["--address=head:6379"]),
                          *(f"--{name}={value}" for name, value in parameters.items())])  # fmt: skip
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert pod["terminationGracePeriodSeconds"] >= 60
        assert "env" not in container, "values belong into settings.yaml, secrets into secrets"
        assert container["image"] in images
        assert {port["containerPort"] for port in container["ports"]} >= {int(parameters["metrics-export-port"])}
        annotated = group["template"]["metadata"]["annotations"]["prometheus.io/port"]
        assert int(annotated) == METRICS_PORT == int(parameters["metrics-export-port"])
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY")
    assert not [name for name in _yaml("kuberay/settings.yaml")["data"] if secret.search(name)]
    policy = _yaml("kuberay/networkpolicy.yaml")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert {port["port"] for rule in policy["ingress"] for port in rule.get("ports", [])} == {8265, METRICS_PORT}
    for name in _yaml("kuberay/kustomization.yaml")["resources"]:
        assert (INFRA / "kuberay" / name).exists()


@pytest.mark.parametrize("path", JOBS, ids=[path.stem for path in JOBS])
def test_a_rayjobs_command_is_one_that_the_job_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = yaml.safe_load(path.read_text())
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": RAYCLUSTER["metadata"]["name"]}
    assert "backoffLimit" not in job["spec"]  # KubeRay would delete the cluster (its issue 4516)
    python, dash_m, name, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (python, dash_m) == ("python", "-m")
    assert name in {command.module for group in COMMANDS.values() for command in group.values()}
    module = importlib.import_module(name)
    asked: list[Any] = []
    monkeypatch.setattr(module, "run_stages" if path.stem == "train" else "run", asked.append)
    if hasattr(module, "run_or_tell"):
        monkeypatch.setattr(module, "run_or_tell", lambda config, make_job, run: run(config))
    assert module.main(arguments) == 0
    assert len(asked) == 1
    for config in asked[0].values() if isinstance(asked[0], dict) else asked:
        assert str(config.out).startswith("s3://")
        assert getattr(config, "workers", None) or path.stem == "evaluate"  # an idle cluster has no cores to count


def test_aws_launcher_is_one_that_ray_takes() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(yaml.safe_load((INFRA / "aws/cluster.yaml").read_text()))
    validate_config({"cluster_synced_files": [], **prepared})
    for commands in (AWS["head_start_ray_commands"], AWS["worker_start_ray_commands"]):
        stop, start = (shlex.split(command) for command in commands)
        assert stop == ["ray", "stop"]
        _check_ray_start(start)
    assert AWS["head_node_type"] in AWS["available_node_types"]
    for kind in AWS["available_node_types"].values():
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required"


@pytest.mark.parametrize("status", [0, 3])
def test_slurms_script_starts_ray_on_each_host_and_ends_with_the_jobs_status(status: int, tmp_path: Path) -> None:
    _program(tmp_path, "scontrol", "echo one; echo two")
    _program(tmp_path, "srun", 'while [[ $1 == --* ]]; do shift; done; exec "$@"')
    _program(tmp_path, "hostname", "echo 10.0.0.1")
    _program(tmp_path, "ray", 'echo "ray $*" >> "$OUT/log"; [ "$1" = health-check ] || exec sleep 20')
    job = 'echo "$RAY_ADDRESS $(stat -c %a "$RAY_AUTH_TOKEN_PATH") $*" > "$OUT/job"'
    both_hosts = 'until [ "$(grep -c "^ray start" "$OUT/log")" = 2 ]; do sleep 0.1; done'
    _program(tmp_path, "fourreal", f"{job}; {both_hosts}; exit {status}")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "OUT": str(tmp_path)}
    environment |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "x", "SLURM_JOB_NUM_NODES": "2"}
    script = ["bash", str(INFRA / "slurm/fourreal.sbatch"), "train", "--out", "a b"]
    done = subprocess.run(script, env=environment, stdout=subprocess.DEVNULL, timeout=240)
    assert done.returncode == status
    assert (tmp_path / "job").read_text() == "10.0.0.1:20007 600 train --out a b\n"
    started = [line.split() for line in (tmp_path / "log").read_text().splitlines() if line.startswith("ray start")]
    assert sorted("--head" in words for words in started) == [False, True]
    for words in started:
        _check_ray_start(words)
    assert not list(tmp_path.rglob("token"))


def test_the_dashboards_ask_for_the_names_that_jobs_export() -> None:
    exported = {metrics.ITEMS, metrics.WORK, metrics.BYTES, metrics.SHARDS, metrics.WAITING, metrics.WORKERS}
    exported |= {name for name, _ in EXPORTED.values()}
    (source,) = _yaml("compose/grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    asked: set[str] = set()
    for path in (INFRA / "compose/grafana/dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text())
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        expressions += [variable["query"] for variable in dashboard["templating"]["list"]]
        for expression in expressions:
            names = set(re.findall(r"\bray_\w+", expression))
            assert names, expression
            asked |= names
        assert {value["uid"] for name, value in _walk(dashboard) if name == "datasource"} == {source["uid"]}
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    ours = {name.removeprefix("ray_") for name in asked if "fourreal" in name}
    assert ours == exported
    # What Ray itself exports of a host (ray.dashboard.modules.reporter).
    assert asked - {f"ray_{name}" for name in ours} <= {
        "ray_node_cpu_utilization",
        "ray_node_mem_used",
        "ray_node_mem_total",
    }
