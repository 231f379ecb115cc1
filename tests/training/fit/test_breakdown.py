"""Losses by diffusion time and source."""

from __future__ import annotations

from fourreal.training.fit.breakdown import LossBreakdown


def test_losses_by_time_and_by_source() -> None:
    breakdown = LossBreakdown(["a/rendered", "s3://b/videos/", "c/rendered"])
    breakdown.add([0.1, 0.2, 1.0, 0.99], [1.0, 3.0, 5.0, 7.0], [0, 1, 2, 2])
    breakdown.add([0.5], [9.0], [1])
    assert breakdown.take() == {
        "loss_at_time/0.00-0.25": 2.0, "loss_at_time/1.00": 5.0, "loss_at_time/0.75-1.00": 7.0,
        "loss_at_time/0.50-0.75": 9.0, "loss_of_source/0-rendered": 1.0, "loss_of_source/videos": 6.0,
        "loss_of_source/2-rendered": 6.0,
    }  # fmt: skip
    assert breakdown.take() == {}


def test_folders_of_any_name_have_metrics_that_mlflow_takes() -> None:
    """One name that it refuses loses the whole batch of metrics."""
    breakdown = LossBreakdown(["data/a+b (1)", "data/a,b (1)", "..", "s3://bucket/Vidéos v1.0: x-y"])
    breakdown.add([1.0] * 4, [1.0, 2.0, 3.0, 4.0], [0, 1, 2, 3])
    of_source = {name.split("/", 1)[1]: loss for name, loss in breakdown.take().items() if "source" in name}
    assert of_source == {"0-a_b _1_": 1.0, "1-a_b _1_": 2.0, "folder": 3.0, "Vidéos v1.0: x-y": 4.0}
