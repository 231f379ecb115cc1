"""What Prometheus sees of a training run, on Ray's own exporter, which puts `ray_` before each name.

Rank 0 sets the values that it also sends to MLflow; one series for each `run` (MLflow's id) and `stage`.
"""

from __future__ import annotations

from collections.abc import Mapping

EXPORTED = {
    "loss": ("fourreal_training_loss", "mean over all workers and the latest steps"),
    "samples_per_s": ("fourreal_training_samples_per_second", "sequences or grids of all workers together"),
    "data_wait_fraction": ("fourreal_training_data_wait_ratio", "share of a step's time that rank 0 waits for data"),
    "mfu": ("fourreal_training_mfu_ratio", "model operations of a worker as a share of its device's peak"),
    "skipped_steps": ("fourreal_training_skipped_steps", "steps not taken because of their loss or gradient"),
    "checkpoint_stall_s": ("fourreal_training_checkpoint_stall_seconds", "time that training stood still to save"),
    "step": ("fourreal_training_step", "steps done"),
    "steps": ("fourreal_training_steps_planned", "steps in all"),
}
"""By the names of `Tracker`: the name of the gauge, and what it is."""


class TrainingMetrics:
    """The gauges of one run. Ray must be running."""

    def __init__(self, run: str, stage: str) -> None:
        from ray.util.metrics import Gauge

        self._tags = {"run": run, "stage": stage}
        self._gauges = {key: Gauge(name, what, tuple(self._tags)) for key, (name, what) in EXPORTED.items()}

    def set(self, values: Mapping[str, float]) -> None:
        """Export those of the values that have a gauge."""
        for key in self._gauges.keys() & values.keys():
            self._gauges[key].set(values[key], self._tags)
