"""The model that is part of the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_grids import make_grid

from fourreal.datagen import render
from fourreal.evaluation import evaluate, generate
from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.exported import STARTER, model_sha256
from fourreal.evaluation.grid_scores import MODEL
from fourreal.platform.codec import encode
from fourreal.platform.shards import read_grids, write_shard
from fourreal.platform.storage import Storage
from fourreal.training.model import load_model, starter


def test_it_is_small_enough_to_be_shipped_and_says_what_it_is() -> None:
    assert sum(path.stat().st_size for path in starter.FOLDER.iterdir() if path.is_file()) < 10_000_000
    card = (starter.FOLDER / "README.md").read_text()
    assert "Licences of the data: CC0-1.0." in card
    assert "| recipe | starter-grid |" in card
    model = load_model(starter.FOLDER, "grid", architecture="soft")
    assert (model.config.height, model.config.width) == (32, 48)


@pytest.mark.ray
def test_generate_without_a_model_takes_it_window_by_window_where_grids_are_larger(tmp_path: Path) -> None:
    source = make_grid("a", views=6, times=5, height=32, width=48)
    write_shard(Storage(str(tmp_path / "conditions")), 0, [("a", encode(source, lossless=True))])
    out, windows = str(tmp_path / "out"), ("--window-views", "4", "--window-times", "4")
    assert generate.main(["--conditions", str(tmp_path / "conditions"), "--out", out, "--steps", "1", *windows]) == 0
    (made,) = (grid.decode() for grid in read_grids(Storage(out)))
    assert made.frames.shape == source.frames.shape
    assert made.meta.provenance["model_sha256"] == model_sha256(STARTER)


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.ray
def test_it_beats_what_learns_nothing_on_assets_it_never_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    true, made = str(tmp_path / "true"), str(tmp_path / "made")
    size = ("--views", "4", "--times", "4", "--height", "64", "--width", "96", "--fps", "12", "--seed", "8000")
    arc = ("--camera.arc-degrees", "10", "20")
    assert render.main(["--assets", "procedural:6", "--out", true, *size, *arc]) == 0
    assert generate.main(["--conditions", true, "--out", made]) == 0
    scores = ("--out", str(tmp_path / "scores"), "--metrics", "psnr", "psnr_foreground")
    assert evaluate.main(["--predictions", made, "--references", true, *scores]) == 0
    document = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    found = {(row["method"], row["metric"]): row["value"] for row in document["scores"]}
    for metric in ("psnr", "psnr_foreground"):
        for baseline in BASELINES:
            assert found[MODEL, metric] > found[baseline, metric] + 0.5, f"{baseline}, {metric}"
