"""Whether there is room for a run, reckoned from shapes before any worker starts.

What is reckoned is the least that a run takes, so that nothing is refused that could work: weights, gradients, AdamW's
two means, the running mean of the weights, the batches in the making, and what a layer hands to the next. Attention,
the inside of layers and the libraries come on top.
"""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from fourreal.platform.errors import UserError
from fourreal.training.data.catalogue import BatchShape
from fourreal.training.data.latent_cache import LatentCache
from fourreal.training.model import Backbone
from fourreal.training.stage.assembly import build_model
from fourreal.training.stage.exports import Model
from fourreal.training.stage.settings import StageSettings

_FLOAT_BYTES = 4
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Need:
    """What a run takes at least, in bytes but for the parameters."""

    parameters: int
    trained: int
    """Parameters that train."""
    worker: int
    """Memory of one worker."""
    checkpoint: int
    """A checkpoint on disk."""
    export: int


def check_room(settings: StageSettings) -> None:
    """Raises UserError when memory or disk of this machine cannot hold the run; other machines are not known here."""
    need = reckon(settings)
    if not os.environ.get("RAY_ADDRESS"):
        _check_memory(settings, need)
    if settings.storage.is_local:
        _check_disk(settings, need)


def reckon(settings: StageSettings) -> Need:
    """The least that the run takes."""
    with torch.device("meta"):
        model = build_model(settings, None)
    weights = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    mean = trained if settings.optimizer.ema_decay else 0
    engine, workers = settings.engine, settings.workers
    split = [workers if engine.kind == "deepspeed" and engine.zero_stage >= stage else 1 for stage in (1, 2, 3)]
    offloaded = engine.offload_optimizer != "none" and torch.cuda.is_available()
    held = weights / split[2] + trained / split[1] + (0 if offloaded else (2 * trained + mean) / split[0])
    of_data = max(
        _batch_bytes(settings, bucket) + _layer_bytes(model, settings, bucket) for bucket in settings.data.buckets
    )
    return Need(
        parameters=weights,
        trained=trained,
        worker=int(_FLOAT_BYTES * held) + of_data,
        checkpoint=_FLOAT_BYTES * (weights + 2 * trained + mean),
        export=_FLOAT_BYTES * weights,
    )


def _batch_bytes(settings: StageSettings, bucket: BatchShape) -> int:
    """Bytes of the batches in the making, and the floats of the one that is trained on with its noise."""
    frames, size = _frames(settings, bucket)
    numbers = bucket.batch_size * frames * math.prod(size)
    ahead = 0 if torch.cuda.is_available() else settings.data.loader.ahead
    return numbers * (ahead + 2 * _FLOAT_BYTES)


def _layer_bytes(model: Model, settings: StageSettings, bucket: BatchShape) -> int:
    """Bytes of what the layers hand on, two a number, kept for the gradient."""
    backbone = model if isinstance(model, Backbone) else model.backbone
    frames, (_, height, width) = _frames(settings, bucket)
    tokens = bucket.batch_size // settings.engine.micro_batches * frames * math.prod(backbone.patch_grid(height, width))
    return 2 * tokens * backbone.hidden_dim * backbone.depth


def _frames(settings: StageSettings, bucket: BatchShape) -> tuple[int, tuple[int, int, int]]:
    """Frames of a sample, and the numbers (C, H, W) of one: of latents, where the data holds these."""
    times, size = bucket.times, (3, bucket.height, bucket.width)
    if settings.data.coded:
        shape = LatentCache.open(settings.data.folders[0]).shape
        times, size = shape.times, shape.frame
    return bucket.views * times if bucket.stage == "grid" else max(bucket.views, times), size


def _check_memory(settings: StageSettings, need: Need) -> None:
    if torch.cuda.is_available() and torch.cuda.device_count() >= settings.workers * settings.gpu_share:
        have = int(torch.cuda.get_device_properties(0).total_memory * settings.gpu_share)
        where = "a GPU here has" if settings.gpu_share == 1 else f"--gpu-share {settings.gpu_share:g} of a GPU here has"
    else:
        have, where = _memory_bytes() // settings.workers, f"this machine has for each of {settings.workers} workers"
    if need.worker > have:
        raise UserError(
            f"training needs at least {_gb(need.worker)} of memory a worker, and {where} {_gb(have)}: lower "
            f"--batch-size or the model's size, or split more with --engine.zero-stage 3 on more workers"
        )


def _memory_bytes() -> int:
    """What can still be had, the limit of a container included."""
    available = int(psutil.virtual_memory().available)
    try:
        limit, used, parts = (
            (_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current", "memory.stat")
        )
    except OSError:
        return available
    if limit == "max":
        return available
    # The page cache counts as used, and the kernel gives it back to whoever needs memory.
    of_part = dict(line.split() for line in parts.splitlines())
    cached = sum(int(of_part.get(name, 0)) for name in ("inactive_file", "active_file"))
    return min(available, int(limit) - int(used) + cached)


def _check_disk(settings: StageSettings, need: Need) -> None:
    out = Path(settings.storage.root)
    exists = next(folder for folder in (out, *out.parents) if folder.is_dir())
    there = sum(path.stat().st_size for path in out.glob("checkpoints/*/**/*") if path.is_file())
    have = shutil.disk_usage(exists).free + there
    count = settings.checkpoints.keep + 1
    wanted = count * need.checkpoint + need.export
    if wanted > have:
        raise UserError(
            f"{count} checkpoints of {_gb(need.checkpoint)} (--checkpoints.keep and the one in the making) and the "
            f"model need {_gb(wanted)}, and {settings.out} has {_gb(have)} free: free some, or choose another --out"
        )


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
