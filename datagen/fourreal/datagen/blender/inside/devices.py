"""What Cycles can render on in this process, and telling it to.

A process that Ray gives one GPU sees only that one (CUDA_VISIBLE_DEVICES and its kin).
"""

from __future__ import annotations

from typing import Any

import bpy

from fourreal.datagen.blender.devices import CPU, GPU_KINDS
from fourreal.datagen.blender.failure import WorkerFailure


def list_gpus() -> dict[str, list[str]]:
    """Names of GPUs by the kind of interface that reaches them, the best first; one GPU may have several."""
    found = {kind: [device.name for device in _gpus(kind)] for kind in GPU_KINDS}
    return {kind: names for kind, names in found.items() if names}


def use_device(kind: str) -> None:
    """Render the open scene on the CPU, or all GPUs of this interface. Raises WorkerFailure: no_device."""
    cycles: Any = bpy.context.scene.cycles
    if kind == CPU:
        cycles.device = "CPU"
        return
    gpus = _gpus(kind) if kind in GPU_KINDS else []
    if not gpus:
        raise WorkerFailure("render", "no_device", f"this machine has no GPU for {kind}")
    _preferences().compute_device_type = kind.upper()
    for device in _preferences().devices:
        device.use = device.type == kind.upper()  # the CPU beside it would make the bytes hang on its speed
    cycles.device = "GPU"


def _gpus(kind: str) -> list[Any]:
    """Devices of this interface; none where this Blender was built without it."""
    known = {entry[0] for entry in _preferences().get_device_types(bpy.context)}
    if kind.upper() not in known:
        return []
    return [d for d in _preferences().get_devices_for_type(kind.upper()) if d.type == kind.upper()]


def _preferences() -> Any:
    return bpy.context.preferences.addons["cycles"].preferences
