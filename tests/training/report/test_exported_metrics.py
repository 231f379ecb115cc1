"""What a scrape of Ray's exporter sees of training."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from loop_runs import ALONE, CPU, settings_for, torch_engine
from prometheus_client.parser import text_string_to_metric_families

from fourreal.training.fit.guard import Guard
from fourreal.training.fit.loop import Hooks, StepReport, batch_stream, train
from fourreal.training.fit.losses import LossRecord
from fourreal.training.fit.train_state import TrainState
from fourreal.training.report.metrics import EXPORTED
from fourreal.training.report.tracker import Tracker


def _scraped(run: str) -> dict[str, float]:
    import ray

    address = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    text = urllib.request.urlopen(address, timeout=60).read().decode()
    return {
        sample.name.removeprefix("ray_"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if (sample.labels.get("run"), sample.labels.get("stage")) == (run, "base")
    }


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_of_two_cores")
def test_a_scrape_sees_each_metric_of_a_run(make_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)  # where --out is
    settings = settings_for(make_folder("a"))
    tracker = Tracker(settings, "r1", 1, CPU)
    reports: list[StepReport] = []

    def on_step(report: StepReport, state: TrainState) -> None:
        reports.append(report)
        tracker.add(report, state)

    start = TrainState(0, batch_stream(settings, ALONE, None).position, LossRecord.for_steps(12), Guard(settings.guard))
    hooks = Hooks(on_step, lambda state: None, lambda state: state)
    train(settings, torch_engine(settings), ALONE, torch.Generator().manual_seed(0), start, hooks)
    tracker.flush()
    wanted = {name for name, _ in EXPORTED.values()}
    deadline = time.monotonic() + 240
    while not wanted <= (found := _scraped("r1")).keys():
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    assert (found["fourreal_training_step"], found["fourreal_training_steps_planned"]) == (12, 12)
    assert found["fourreal_training_loss"] == pytest.approx(tracker.averages["loss"])
    assert 0 <= found["fourreal_training_data_wait_ratio"] <= 1
