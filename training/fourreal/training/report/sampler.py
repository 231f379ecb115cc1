"""Sample pictures outside the training step: a process of its own makes them from the newest export.

It runs on the worker's machine, on one core and only when nothing else wants that core. Nobody waits for it: while it
is busy, later exports have no picture; what takes too long is killed; what fails is said and forgotten.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fourreal.training.stage.work_order import WorkOrder

SAMPLES_FILE = "samples.png"
_FOLDER = "samples"


class Sampler:
    """Rank 0's side of it. `complain` takes a sentence about a picture that was not made."""

    def __init__(self, order: WorkOrder, complain: Callable[[str], None]) -> None:
        self._order, self._complain = order, complain
        self._actor: Any = None
        self._pending: Any = None
        self._step, self._asked = 0, 0.0

    def ask(self, step: int) -> bool:
        """Have a picture made of the export of a step, unless one is in the making; returns at once whether it is."""
        if self._pending is not None and not self._is_done():
            return False
        self._step, self._asked = step, time.monotonic()
        try:
            if self._actor is None:
                self._actor = _start_actor(self._order)
            self._pending = self._actor.make.remote(step)
        except Exception as error:  # Ray's; training does not depend on pictures
            self._actor = self._pending = None
            self._complain(f"no sample picture of step {step} ({error})")
        return self._pending is not None

    def close(self) -> None:
        """End the process, whatever it is doing."""
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = self._pending = None

    def _is_done(self) -> bool:
        """Whether the last picture is made, or given up."""
        import ray

        timeout_s = self._order.settings.samples.timeout_s
        ready, _ = ray.wait([self._pending], timeout=0)
        if not ready and time.monotonic() - self._asked < timeout_s:
            return False
        try:
            if not ready:
                raise TimeoutError(f"not done after {timeout_s:.0f} s")
            ray.get(self._pending)
        except Exception as error:  # whatever it is, training does not depend on it
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            self._complain(f"no sample picture of step {self._step} ({last})")
            self.close()
        self._pending = None
        return True


def _start_actor(order: WorkOrder) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=here)(_SampleProcess).remote(order)


class _SampleProcess:
    def __init__(self, order: WorkOrder) -> None:
        import torch

        os.nice(19)
        torch.set_num_threads(1)
        os.environ["MLFLOW_TRACKING_URI"] = order.tracking_uri
        self._order = order

    def make(self, step: int) -> None:
        """The picture of the export that is in `OUT/model` now."""
        from fourreal.platform import tracking
        from fourreal.platform.contact_sheet import write_png
        from fourreal.training.report.pictures import sample_picture
        from fourreal.training.stage.exports import MODEL_FOLDER, load_any

        settings = self._order.settings
        model = load_any(settings.storage.child(MODEL_FOLDER).uri)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"step-{step:08d}.png"
            write_png(path, sample_picture(model, settings))
            settings.storage.write(f"{_FOLDER}/{path.name}", path.read_bytes())
            settings.storage.write(SAMPLES_FILE, path.read_bytes())
            tracking.client().MlflowClient().log_artifact(self._order.run_id, str(path), _FOLDER)
