"""The model that is part of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_grids import make_grid

from fourreal.datagen import render
from fourreal.evaluation import generate
from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.exported import STARTER, model_sha256
from fourreal.evaluation.fit import Fit
from fourreal.evaluation.grid_generator import GeneratorSettings, GridGenerator
from fourreal.platform.codec import encode
from fourreal.platform.datajob import Item
from fourreal.platform.runtime import ray_session
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


def test_larger_grids_are_made_window_by_window(tmp_path: Path) -> None:
    source = make_grid("a", views=6, times=5, height=32, width=48)
    record = write_shard(Storage(str(tmp_path)), 0, [("a", encode(source, lossless=True))])
    settings = GeneratorSettings(
        model_sha256(STARTER), steps=1, seed=0, fit="crop", device="cpu", window_views=4, window_times=4
    )
    item = Item("a", f"{tmp_path}/{record.name}#a", {"shard_sha256": record.sha256})
    made = GridGenerator(STARTER, str(tmp_path), settings).process(item)
    assert made.frames.shape == source.frames.shape
    assert (made.frames[0] == source.frames[0]).all()


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.ray
def test_generate_without_a_model_beats_what_learns_nothing_on_assets_nobody_saw(tmp_path: Path) -> None:
    true, made = str(tmp_path / "true"), str(tmp_path / "made")
    size = ("--views", "4", "--times", "4", "--height", "64", "--width", "96", "--fps", "12", "--seed", "8000")
    with ray_session(2):
        assert render.main(["--assets", "procedural:3", "--out", true, *size, "--camera.arc-degrees", "10", "20"]) == 0
        assert generate.main(["--conditions", true, "--out", made]) == 0
    references = {grid.key: grid.decode() for grid in read_grids(Storage(true))}
    gained: dict[str, list[float]] = {name: [] for name in BASELINES}
    for generated in (grid.decode() for grid in read_grids(Storage(made))):
        assert generated.meta.provenance["model_sha256"] == model_sha256(STARTER)
        reference = Fit.between((64, 96), (32, 48)).grid(references[generated.key]).frames
        for name, baseline in BASELINES.items():
            guess = baseline(reference[:, 0], reference[0])
            gained[name].append(_psnr_db(generated.frames, reference) - _psnr_db(guess, reference))
    assert {name: len(values) for name, values in gained.items()} == dict.fromkeys(BASELINES, len(references))
    assert min(np.mean(values) for values in gained.values()) > 0.5


def _psnr_db(frames: np.ndarray, reference: np.ndarray) -> float:
    error = (frames[1:, 1:].astype(float) - reference[1:, 1:]) ** 2
    return float(np.mean(10 * np.log10(255**2 / error.mean(axis=(2, 3, 4)))))
