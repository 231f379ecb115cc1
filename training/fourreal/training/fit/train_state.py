"""What a checkpoint holds, and putting it back.

    engine files             weights and optimizer, written by the engine (one part per worker)
    worker-<rank>.json       step, losses so far, data position
    random-<rank>.pt         random states of torch, numpy and Python, and of the noise generator (tensors and numbers)
    run.json                 rank 0: number of workers, MLflow run

Every worker writes its own files; `checkpoint/store.py` puts them side by side, whole or not at all.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fourreal.platform.documents import parse_object
from fourreal.platform.errors import UserError
from fourreal.training.checkpoint.snapshots import Snapshot
from fourreal.training.data.batches import DataPosition
from fourreal.training.engine.base import Engine
from fourreal.training.fit.guard import Guard
from fourreal.training.fit.losses import LossRecord
from fourreal.training.settings.groups import GuardSettings
from fourreal.training.workers.ranks import Worker


@dataclass(frozen=True)
class TrainState:
    """Where a worker is: steps done, position of the next batch, the losses that the final table shows, the guard."""

    step: int
    position: DataPosition
    losses: LossRecord
    guard: Guard


def snapshot(engine: Engine, state: TrainState, noise: torch.Generator, worker: Worker, run_id: str) -> Snapshot:
    """This worker's files as of now, in memory. All workers call it."""
    document = {"step": state.step, "position": state.position.to_json(), "losses": state.losses.to_json()}
    documents = {f"worker-{worker.rank}.json": {**document, "guard": state.guard.to_json()}}
    if worker.rank == 0:
        documents["run.json"] = {"workers": worker.world, "mlflow_run_id": run_id}
    random_states = {**_random_states(), "noise": noise.get_state()}
    # JSON's copy: the record of losses and the guard go on changing.
    documents = json.loads(json.dumps(documents))
    return Snapshot({**engine.snapshot(), f"random-{worker.rank}.pt": random_states}, documents)


def restore(
    folder: Path,
    engine: Engine,
    noise: torch.Generator,
    worker: Worker,
    settings: GuardSettings,
    *,
    shared: bool = True,
) -> TrainState:
    """Put everything back as it was at `snapshot`. All workers call it; `shared` as in `Engine.load`.

    Another number of workers takes over where those of the checkpoint were. Their random states begin anew, each from
    its rank and the step.
    """
    with _named(folder):
        saved_by = int(parse_object((folder / "run.json").read_bytes())["workers"])
    engine.load(folder, saved_by=saved_by, shared=shared)
    same = saved_by == worker.world
    with _named(folder):
        document = parse_object((folder / f"worker-{worker.rank if same else 0}.json").read_bytes())
        if same:
            _set_random_states(torch.load(folder / f"random-{worker.rank}.pt", weights_only=True), noise)
        else:
            noise.manual_seed(hash((noise.initial_seed(), document["step"], worker.rank)) % (1 << 63))
        position, losses = DataPosition.from_json(document["position"]), LossRecord.from_json(document["losses"])
        return TrainState(int(document["step"]), position, losses, Guard.from_json(settings, document["guard"]))


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Files whose sums are right and that make no sense were not written by this version, or not by fourreal."""
    try:
        yield
    except Exception as error:  # torch.load and what is done with its result raise anything
        raise UserError(
            f"the checkpoint {folder} cannot be used ({type(error).__name__}): delete its folder, and the checkpoint "
            "before it is taken"
        ) from error


def _set_random_states(states: dict[str, Any], noise: torch.Generator) -> None:
    noise.set_state(states["noise"])
    torch.set_rng_state(states["torch"])
    np.random.set_state(("MT19937", states["numpy"].numpy(), *states["numpy_rest"]))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


def _random_states() -> dict[str, Any]:
    """The global states, as tensors and plain numbers, so that they load without unpickling objects."""
    _, keys, *rest = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy_rest": list(rest),
        "python": [version, list(internal), gauss],
    }
