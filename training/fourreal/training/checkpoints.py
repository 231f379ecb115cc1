"""What a checkpoint holds, and putting it back.

    engine files             weights and optimizer, written by the engine (one part per worker)
    worker-<rank>.json       step, losses so far, data position
    random-<rank>.pt         random states of torch, numpy and Python, and of the noise generator (tensors and numbers)
    run.json                 rank 0: number of workers, MLflow run

Every worker writes its own files into a folder of its own; Ray Train merges the folders.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fourreal.platform.errors import UserError
from fourreal.training.data import DataPosition
from fourreal.training.engine import Engine
from fourreal.training.losses import LossRecord
from fourreal.training.order import Worker


@dataclass(frozen=True)
class TrainState:
    """Where a worker is: steps done, position of the next batch, and the losses that the final table shows."""

    step: int
    position: DataPosition
    losses: LossRecord


def save(folder: Path, engine: Engine, state: TrainState, noise: torch.Generator, worker: Worker, run_id: str) -> None:
    """Write this worker's files. All workers call it."""
    engine.save(folder)
    document = {"step": state.step, "position": state.position.to_json(), "losses": state.losses.to_json()}
    (folder / f"worker-{worker.rank}.json").write_text(json.dumps(document))
    torch.save({**_random_states(), "noise": noise.get_state()}, folder / f"random-{worker.rank}.pt")
    if worker.rank == 0:
        (folder / "run.json").write_text(json.dumps({"workers": worker.world, "mlflow_run_id": run_id}))


def restore(folder: Path, engine: Engine, noise: torch.Generator, worker: Worker) -> TrainState:
    """Put everything back as it was at `save`. UserError for another number of workers. All workers call it."""
    workers = json.loads((folder / "run.json").read_text())["workers"]
    if workers != worker.world:
        raise UserError(
            f"the checkpoint was made by {workers} workers and {worker.world} are running: "
            f"run with --workers {workers}, or choose another --out"
        )
    engine.load(folder)
    states = torch.load(folder / f"random-{worker.rank}.pt", weights_only=True)
    noise.set_state(states["noise"])
    torch.set_rng_state(states["torch"])
    np.random.set_state(("MT19937", states["numpy"].numpy(), *states["numpy_rest"]))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    document = json.loads((folder / f"worker-{worker.rank}.json").read_text())
    position, losses = DataPosition.from_json(document["position"]), LossRecord.from_json(document["losses"])
    return TrainState(document["step"], position, losses)


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
