"""Which kind of device renders: the kinds there are, and the choice between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from fourreal.platform.errors import UserError

CPU = "cpu"
GPU_KINDS = ("optix", "cuda", "hip", "metal", "oneapi")
"""Interfaces of Cycles to GPUs, the one to prefer first."""
Wanted = Literal["auto", "cpu", "gpu"]


def choose_device(wanted: Wanted, gpus: Mapping[str, Sequence[str]], planned: str | None) -> str:
    """`cpu` or one of GPU_KINDS. `gpus`: names by kind, as found; `planned`: what the output was begun with, if it was.

    Pixels of different kinds differ in their last bits, so what was begun is finished on the same kind where it can
    be. Raises UserError when a GPU is asked for and there is none.
    """
    kinds = [kind for kind in GPU_KINDS if gpus.get(kind)]
    if wanted == "cpu" or (wanted == "auto" and planned == CPU):
        return CPU
    if planned in kinds:
        return planned
    if kinds:
        return kinds[0]
    if wanted == "gpu":
        raise UserError(
            "--device gpu: Blender finds no GPU that it can render on; install its driver (fourreal doctor shows what "
            "is seen) or use --device cpu"
        )
    return CPU
