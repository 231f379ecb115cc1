"""On what a render job runs: asked of Blender where the work will be done."""

from __future__ import annotations

import os

from fourreal.datagen.blender.devices import CPU, Wanted, choose_device
from fourreal.datagen.blender.failure import WorkerFailure
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.platform.datajob.plan import read_plan
from fourreal.platform.errors import UserError
from fourreal.platform.runtime import ray_session
from fourreal.platform.storage import Storage


def device_of(wanted: Wanted, out: Storage) -> str:
    """The kind of device for a job whose output is `out`: see `choose_device`.

    Raises UserError when there is no GPU though one is asked for, or Blender does not start.
    """
    plan = read_plan(out)
    planned = None if plan is None else plan.settings.get("device")
    if wanted == "cpu" or (wanted == "auto" and planned == CPU):
        return CPU
    return choose_device(wanted, _gpus_of_the_cluster() if os.environ.get("RAY_ADDRESS") else _gpus_here(), planned)


def _gpus_here() -> dict[str, list[str]]:
    with BlenderWorker() as worker:
        try:
            return worker.gpus()
        except WorkerFailure as failure:
            raise UserError(f"Blender does not start ({failure.message}): fourreal doctor says what it lacks") from None


def _gpus_of_the_cluster() -> dict[str, list[str]]:
    """Of one of its machines with a GPU; the others are taken to have the same."""
    with ray_session():
        import ray

        if ray.cluster_resources().get("GPU", 0) < 1:
            return {}
        found: dict[str, list[str]] = ray.get(ray.remote(num_gpus=1)(_gpus_here).remote())
        return found
