"""`fourreal doctor`: what is installed, what is missing, and what that means."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fourreal.platform.config import command
from fourreal.platform.redaction import redact
from fourreal.platform.tracking import tracking_uri


@dataclass(frozen=True)
class Config:
    """Look at this machine and say which jobs can run on it."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    good: bool
    found: str
    meaning: str = ""
    """What follows from it, or what to do; where something is missing."""
    needed: bool = False
    """Whether nothing works without it."""


_PACKAGES = (
    # distribution, module, needed by every job, what is missing without it
    ("ray", "ray", True, "no job can run: pip install fourreal"),
    ("webdataset", "webdataset", True, "no shards: pip install fourreal"),
    ("av", "av", True, "no video can be read: pip install fourreal"),
    ("simplejpeg", "simplejpeg", True, "no frames can be coded: pip install fourreal"),
    ("mlflow", "mlflow", True, "no runs are recorded: pip install fourreal"),
    ("bpy", "bpy", False, "`fourreal render` cannot run: pip install 'fourreal[render]'"),
    ("objaverse", "objaverse", False, "no assets come from Objaverse: pip install 'fourreal[objaverse]'"),
    ("torch", "torch", False, "`fourreal train` and `generate` cannot run: pip install 'fourreal[train]'"),
    ("deepspeed", "deepspeed", False, "`fourreal train` cannot run with DeepSpeed: pip install 'fourreal[train]'"),
    ("einops", "einops", False, "the model cannot be loaded: pip install 'fourreal[train]' or 'fourreal[eval]'"),
    ("safetensors", "safetensors", False, "no model can be read: pip install 'fourreal[train]' or 'fourreal[eval]'"),
)


def findings() -> Iterator[Finding]:
    """Look, and report line by line."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] == (3, 11)
    yield Finding("Python", good, version, "fourreal is made for Python 3.11, as Blender's module asks", needed=True)
    for distribution, module, needed, meaning in _PACKAGES:
        installed = importlib.util.find_spec(module) is not None
        found = importlib.metadata.version(distribution) if installed else "missing"
        yield Finding(distribution, installed, found, meaning, needed)
    if importlib.util.find_spec("bpy") is not None:
        yield _blender()
    yield _gpu()
    yield _memory()
    yield _disk()
    yield _object_store()
    yield Finding("MLflow store", True, redact(tracking_uri()))
    yield Finding("Ray", True, os.environ.get("RAY_ADDRESS") or "started on this machine for each job, on loopback")


_DEVICE = "device: "
_LIST_RENDER_DEVICES = f"""
import bpy
cycles = bpy.context.preferences.addons["cycles"].preferences
for kind in [entry[0] for entry in cycles.get_device_types(bpy.context)]:
    for device in cycles.get_devices_for_type(kind) if kind != "NONE" else []:
        if device.type == kind:
            print(f"{_DEVICE}{{device.name}} ({{kind}})")
print("{_DEVICE}the CPU")
"""


def _blender() -> Finding:
    """Whether bpy loads: it needs system libraries that pip does not bring. In a process of its own, as ever."""
    done = subprocess.run([sys.executable, "-c", _LIST_RENDER_DEVICES], capture_output=True, text=True)
    last_words = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    meaning = "apt-get install libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libice6 libgl1 libxext6"
    return Finding(
        "Blender", done.returncode == 0, _loads(done.stdout) if done.returncode == 0 else last_words, meaning
    )


def _loads(printed: str) -> str:
    devices = [line.removeprefix(_DEVICE) for line in printed.splitlines() if line.startswith(_DEVICE)]
    return f"loads, renders on {', '.join(devices) or 'nothing'}"


def _gpu() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", False, "unknown", "install torch to see GPUs")
    import torch

    count = torch.cuda.device_count()
    names = ", ".join(sorted({torch.cuda.get_device_name(i) for i in range(count)}))
    return Finding(
        "GPU", count > 0, f"{count} ({names})" if count else "none", "everything runs on the CPU, at small sizes"
    )


def _memory() -> Finding:
    import psutil

    available = psutil.virtual_memory().available / 2**30
    cores = os.cpu_count() or 1
    meaning = "Ray and two training workers want about 4 GiB free"
    return Finding("cores and memory", available > 4, f"{cores} cores, {available:.1f} GiB free", meaning)


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 2**30
    return Finding(
        "disk here", free > 5, f"{free:.0f} GiB free", "an 8x8 grid takes 0.4 MB at 96x160, 2.7 MB at 288x512"
    )


def _object_store() -> Finding:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS's own"
    known = bool(os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE"))
    meaning = "s3:// addresses need AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role or profile"
    return Finding("S3", known, f"endpoint {endpoint}, credentials {'set' if known else 'not set'}", meaning)


def run(config: Config) -> int:
    """Print the report; 1 when something is missing that every job needs."""
    lost = 0
    for finding in findings():
        print(f"  {'ok ' if finding.good else '-- '} {finding.subject:<18} {finding.found}")
        if not finding.good:
            print(f"      {'':<18} {finding.meaning}")
            lost += finding.needed
    print("everything that every job needs is here" if not lost else f"{lost} needed part(s) missing: see above")
    return int(lost > 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    return command(Config, run, argv, prog="fourreal doctor")


if __name__ == "__main__":
    raise SystemExit(main())
