"""`fourreal evaluate` with metrics over published networks: their weights beside the numbers, or why there are none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_grids import make_grid
from tiny_weights import UNPUBLISHED, write_clip, write_lpips, write_torchscript

from fourreal.evaluation.evaluate import Config, main
from fourreal.evaluation.given import BORDER
from fourreal.evaluation.grid_scores import MODEL
from fourreal.evaluation.metrics import all_metrics, choose_metrics
from fourreal.evaluation.networks import Networks
from fourreal.evaluation.pairing import pair_up
from fourreal.evaluation.pretrained import REGISTRY, WeightsStore
from fourreal.evaluation.report import table
from fourreal.evaluation.scoring import score_pairs
from fourreal.evaluation.shelf import Shelf
from fourreal.platform.codec import encode
from fourreal.platform.grid import Grid
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

pytest.importorskip("transformers")


def _predicted(reference: Grid) -> Grid:
    frames = reference.frames.copy()
    noise = np.random.default_rng(0).integers(0, 60, frames[1:, 1:].shape)
    frames[1:, 1:] = (frames[1:, 1:] * 0.7 + noise).astype(np.uint8)
    meta = dataclasses.replace(reference.meta, provenance={"given": BORDER, "model_sha256": "ab" * 32, "steps": 4})
    return dataclasses.replace(reference, frames=frames, meta=meta)


@pytest.fixture
def grids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command's folders; MLflow writes below `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    reference = make_grid("a", 3, 9, 32, 32)
    for name, grid in (("p", _predicted(reference)), ("r", reference)):
        write_shard(Storage(str(tmp_path / name)), 0, [("a", encode(grid, lossless=True))])
    return ["--predictions", str(tmp_path / "p"), "--references", str(tmp_path / "r")]


def test_every_number_has_its_weights_and_few_items_are_marked(
    grids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    for write in (write_torchscript, write_lpips, write_clip):
        write(weights)
    for name, entry in UNPUBLISHED.items():
        monkeypatch.setitem(REGISTRY, name, entry)  # type: ignore[arg-type]
    names = ["fid", "fvd_time", "lpips", "clip_score", "sharpness"]
    assert main([*grids, "--metrics", *names, "--weights", str(weights), "--allow-few"]) == 0
    printed = capsys.readouterr().out
    document = json.loads((tmp_path / "p" / "evaluation" / "metrics.json").read_text())
    scores = {row["metric"]: row for row in document["scores"] if row["method"] == "model"}
    assert all(scores[name]["value"] is not None for name in names)
    assert (scores["fid"]["items"], scores["fid"]["few"]) == (16, False)
    assert (scores["fvd_time"]["items"], scores["fvd_time"]["few"]) == (2, True)
    digest = document["metrics"]["fid"]["weights_sha256"]["inception-2015-12-05.pt"]
    assert len(digest) == 64
    assert scores["fid"]["metric_weights_sha256"] == {"inception-2015-12-05.pt": digest}
    assert set(document["metrics"]["lpips"]["weights_sha256"]) == {"alexnet-owt-7be5be79.pth", "alex.pth"}
    assert document["metrics"]["sharpness"]["ideal"] == 1.0
    assert f"inception-2015-12-05.pt {digest[:12]}" in printed
    assert f"{scores['fvd_time']['value']:.3f}†" in printed or f"{scores['fvd_time']['value']:.2f}†" in printed
    assert "FVD time is one value for all grids: 2 videos a side." in printed
    samples = json.loads((tmp_path / "p" / "evaluation" / "samples.json").read_text())
    assert {row["metric"] for row in samples} == {"lpips", "clip_score", "sharpness"}


def test_all_metrics_without_any_weights_say_what_to_fetch(grids: list[str], tmp_path: Path) -> None:
    metrics = choose_metrics(["all"], Networks(WeightsStore(str(tmp_path / "nothing"))))
    board = score_pairs(pair_up(Shelf(Storage(grids[1])), Shelf(Storage(grids[3]))), metrics)
    printed = table(board)
    values = {row["metric"]: row["value"] for row in board.rows() if row["method"] == MODEL}
    assert list(values) == list(all_metrics())
    learned = ("lpips", "clip", "fid", "fvd", "fv4d", "videoscore", "dust3r", "met3r")
    lacking = (*learned, "tsed", "reconstruction", "epipolar")  # no cameras, and too little texture for SIFT
    for name, value in values.items():
        assert (value is None) == (name.split("_")[0] in lacking), name
    for name in ("inception", "i3d", "lpips", "clip", "videoscore", "dust3r"):
        assert f"`fourreal weights fetch {name}`" in printed
    assert not (tmp_path / "nothing").exists()


def test_the_default_metrics_need_no_weights() -> None:
    assert not [name for name in Config("p", "r").metrics if name.startswith(("fid", "fv", "lpips", "clip"))]
