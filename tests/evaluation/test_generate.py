from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_grids import make_grid

from fourreal.evaluation.exported import model_sha256
from fourreal.evaluation.fit import Fit
from fourreal.evaluation.generate import Config, _data_job, generate, main
from fourreal.evaluation.given import border_mask, given_mask
from fourreal.evaluation.grid_generator import GeneratorSettings, GridGenerator, sample_seed
from fourreal.platform.codec import encode
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.runtime import ray_session
from fourreal.platform.shards import list_shards, read_grids, write_shard
from fourreal.platform.storage import Storage
from fourreal.training.model import (
    GridModel,
    PixelBackbone,
    PixelConfig,
    Upsampler,
    UpsamplerConfig,
    save_pretrained,
)

HEIGHT, WIDTH = 12, 16


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    model = GridModel(PixelBackbone(PixelConfig(height=HEIGHT, width=WIDTH, hidden_dim=24, depth=1, heads=2)), "soft")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # at its start the model says nothing but zeros
    return str(save_pretrained(model, tmp_path_factory.mktemp("model")))


def _upsampler(folder: Path, low: tuple[int, int]) -> str:
    high = (2 * low[0], 2 * low[1])
    shape: dict[str, Any] = {"patch_size": 8, "hidden_dim": 24, "depth": 1, "heads": 2}
    return str(save_pretrained(Upsampler(UpsamplerConfig.of_size("nano", low, high, **shape)), folder))


def _conditions(folder: Path, *grids: Grid, index: int = 0) -> str:
    write_shard(Storage(str(folder)), index, [(grid.key, encode(grid, lossless=True)) for grid in grids])
    return str(folder)


def _generator(model: str, conditions: str, **changes: Any) -> GridGenerator:
    settings = {"steps": 2, "seed": 0, "fit": "crop", "device": "cpu", **changes}
    return GridGenerator(model, conditions, GeneratorSettings(model_sha256(model), **settings))


def _item(conditions: str, key: str) -> Item:
    record = next(r for r in list_shards(Storage(conditions)) if key in r.keys)
    return Item(key, f"{conditions}/{record.name}#{key}", {"shard_sha256": record.sha256})


def _make(model: str, conditions: str, key: str, **changes: Any) -> Grid:
    return _generator(model, conditions, **changes).process(_item(conditions, key))


def test_given_frames_come_back_exactly_and_the_others_are_made(model_folder: str, tmp_path: Path) -> None:
    source = make_grid("a", height=HEIGHT, width=WIDTH)
    made = _make(model_folder, _conditions(tmp_path, source), "a")
    given = given_mask(made.meta, 3, 4)
    assert given is not None
    np.testing.assert_array_equal(made.frames[given], source.frames[given])
    assert made.key == "a"
    assert (made.frames[~given] != source.frames[~given]).mean() > 0.5
    assert made.meta.licence == source.meta.licence


def test_what_is_not_given_does_not_reach_the_model(model_folder: str, tmp_path: Path) -> None:
    source = make_grid("a", height=HEIGHT, width=WIDTH)
    frames = source.frames.copy()
    frames[1:, 1:] = 255 - frames[1:, 1:]
    one = _make(model_folder, _conditions(tmp_path / "one", source), "a")
    other = _make(model_folder, _conditions(tmp_path / "other", dataclasses.replace(source, frames=frames)), "a")
    np.testing.assert_array_equal(one.frames, other.frames)
    frames[0, 2] = 255 - frames[0, 2]
    changed = _make(model_folder, _conditions(tmp_path / "given", dataclasses.replace(source, frames=frames)), "a")
    assert (one.frames[1:, 1:] != changed.frames[1:, 1:]).any()


def test_a_grid_is_the_same_whatever_is_made_beside_it(model_folder: str, tmp_path: Path) -> None:
    grids = [make_grid(key, height=HEIGHT, width=WIDTH, view_step_px=i) for i, key in enumerate("abc")]
    together = _conditions(tmp_path / "together", *grids)
    generator = _generator(model_folder, together)
    in_order = {key: generator.process(_item(together, key)).frames for key in "abc"}
    backwards = {key: generator.process(_item(together, key)).frames for key in "cba"}
    alone = _make(model_folder, _conditions(tmp_path / "alone", grids[1]), "b").frames
    for key in "abc":
        np.testing.assert_array_equal(in_order[key], backwards[key])
    np.testing.assert_array_equal(in_order["b"], alone)


def test_the_seed_and_the_key_decide_the_noise(model_folder: str, tmp_path: Path) -> None:
    twins = [dataclasses.replace(make_grid(key, height=HEIGHT, width=WIDTH)) for key in "ab"]
    conditions = _conditions(tmp_path, *twins)
    one, twin = _make(model_folder, conditions, "a"), _make(model_folder, conditions, "b")
    other_seed = _make(model_folder, conditions, "a", seed=1)
    assert (one.frames != twin.frames).any()
    assert (one.frames != other_seed.frames).any()
    assert one.meta.seed == sample_seed(0, "a") != twin.meta.seed
    assert 0 <= one.meta.seed < 2**63


def test_larger_conditions_are_fitted_and_the_record_says_how(model_folder: str, tmp_path: Path) -> None:
    source = make_grid("a", height=30, width=50)
    made = _make(model_folder, _conditions(tmp_path, source), "a")
    provenance = made.meta.provenance
    fit = Fit.from_record(provenance["fit"])
    assert (fit.source_height, fit.source_width, fit.box_width) == (30, 50, 40)
    np.testing.assert_array_equal(made.frames[0], fit.grid(source).frames[0])
    assert made.mask is not None
    assert made.mask.shape == (3, 4, HEIGHT, WIDTH)
    assert provenance["model_sha256"] == model_sha256(model_folder)
    assert (provenance["steps"], provenance["sampler"], provenance["seed"]) == (2, "euler", 0)
    assert provenance["source_grid"]["address"].endswith("shard-000000.tar#a")
    stretched = _make(model_folder, str(tmp_path), "a", fit="stretch")
    assert stretched.meta.provenance["fit"]["box_width"] == 50


def test_conditions_that_changed_since_the_plan_are_refused(model_folder: str, tmp_path: Path) -> None:
    conditions = _conditions(tmp_path, make_grid("a"))
    item = _item(conditions, "a")
    _conditions(tmp_path, make_grid("a", view_step_px=1))
    with pytest.raises(ItemFailure, match="changed since the plan"):
        _generator(model_folder, conditions).process(item)


@pytest.mark.parametrize(("border", "count"), [("border", 6), ("fixed-view", 4), ("freeze-time", 3)])
def test_both_videos_or_one_of_them_are_given(model_folder: str, tmp_path: Path, border: str, count: int) -> None:
    source = make_grid("a", height=HEIGHT, width=WIDTH)
    made = _make(model_folder, _conditions(tmp_path, source), "a", given=border)
    given = given_mask(made.meta, 3, 4)
    assert given is not None
    assert given.sum() == count
    np.testing.assert_array_equal(given, border_mask(border, 3, 4))  # type: ignore[arg-type]
    np.testing.assert_array_equal(made.frames[given], source.frames[given])
    assert (made.frames[~given] != source.frames[~given]).mean() > 0.5


def test_settings_of_the_sampler_and_windows_decide_frames_and_are_recorded(model_folder: str, tmp_path: Path) -> None:
    conditions = _conditions(tmp_path, make_grid("a", views=5, height=HEIGHT, width=WIDTH))
    plain = _make(model_folder, conditions, "a", steps=3)
    for changes in ({"sampler": "heun"}, {"sampler": "unipc"}, {"shift": 3.0}, {"guidance": 2.0}, {"window_views": 3}):
        made = _make(model_folder, conditions, "a", steps=3, **changes)
        assert (made.frames != plain.frames).any(), changes
        assert all(made.meta.settings[name] == value for name, value in changes.items())
    options = {"window_views": 3, "window_times": 3, "overlap_views": 2, "overlap_times": 2, "check_overlaps": True}
    provenance = _make(model_folder, conditions, "a", sampler="unipc", **options).meta.provenance
    assert (provenance["sampler"], provenance["shift"], provenance["guidance"]["frames"]) == ("unipc", 1.0, 1.0)
    windows = provenance["windows"]
    assert [(window["view"], window["time"], window["made"]) for window in windows] == [
        (0, 0, 4), (0, 1, 2), (1, 0, 2), (1, 1, 1), (2, 0, 2), (2, 1, 1)
    ]  # fmt: skip
    assert windows[0]["overlap_psnr_db"] is None
    assert all(window["overlap_psnr_db"] > 0 for window in windows[1:])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--steps", "0"], "0 sampling steps"),
        (["--shift", "-1"], "no positive number"),
        (["--guidance", "nan"], "guidance scale of frames is nan"),
        (["--window-views", "1"], "window of 1 views"),
        (["--window-times", "3", "--overlap-times", "3"], "3 times that shares 3"),
        (["--window-views", "4", "--check-overlaps"], "nothing to check"),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence_before_any_work(
    flags: list[str], sentence: str, model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["--model", model_folder, "--conditions", str(tmp_path), "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(("size", "source_has_it"), [((30, 40), True), ((12, 16), False)])
def test_an_upsampler_makes_frames_larger(
    model_folder: str, tmp_path: Path, size: tuple[int, int], source_has_it: bool
) -> None:
    source = make_grid("a", height=size[0], width=size[1])
    conditions = _conditions(tmp_path / "conditions", source)
    upsampler = _upsampler(tmp_path / "upsampler", (HEIGHT, WIDTH))
    settings = GeneratorSettings(
        model_sha256(model_folder), 2, 0, "crop", "cpu", upsampler_sha256=model_sha256(upsampler)
    )
    generator = GridGenerator(model_folder, conditions, settings, upsampler)
    made = generator.process(_item(conditions, "a"))
    assert made.frames.shape == (3, 4, 2 * HEIGHT, 2 * WIDTH, 3)
    small = _make(model_folder, conditions, "a")
    given = given_mask(made.meta, 3, 4)
    assert given is not None
    # At its start an upsampler is the bicubic resize: shrunk again, frames are what the model made.
    back = made.frames.reshape(3, 4, HEIGHT, 2, WIDTH, 2, 3).mean(axis=(3, 5))
    assert np.abs(back - small.frames)[~given].mean() < 12
    fit = Fit.from_record(made.meta.provenance["fit"])
    assert (fit.height, fit.width) == (2 * HEIGHT, 2 * WIDTH)
    assert (made.frames[given] == fit.grid(source).frames[given]).all() == source_has_it
    assert made.meta.provenance["upsampler"] == {
        "sha256": model_sha256(upsampler),
        "steps": 4,
        "augmentation": 0.0,
        "given_frames": "source" if source_has_it else "upsampled",
    }
    _upsampler(tmp_path / "upsampler", (HEIGHT, WIDTH))  # other weights
    with pytest.raises(ItemFailure, match="changed since the plan"):
        GridGenerator(model_folder, conditions, settings, upsampler).process(_item(conditions, "a"))


def test_an_upsampler_of_another_size_or_level_is_refused(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, fitting = _upsampler(tmp_path / "other", (8, 8)), _upsampler(tmp_path / "fitting", (HEIGHT, WIDTH))
    arguments = ["--model", model_folder, "--conditions", str(tmp_path), "--out", str(tmp_path / "out"), "--upsampler"]
    for flags, sentence in (
        ([other], "makes frames of 12x16 pixels and .*other reads 8x8"),
        ([model_folder], "holds a grid model, an upsampler model is needed"),
        ([fitting, "--upsampler-augmentation", "0.7"], "augmentation 0.7 is outside"),
        ([fitting, "--upsampler-steps", "0"], "0 sampling steps"),
    ):
        assert main([*arguments, *flags]) == 2
        error = capsys.readouterr().err
        assert re.search(sentence, error), error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [{"views": 1}, {"times": 1}])
def test_a_grid_with_nothing_to_generate_is_refused(model_folder: str, tmp_path: Path, size: dict[str, int]) -> None:
    conditions = _conditions(tmp_path, make_grid("a", **size))
    with pytest.raises(ItemFailure, match="nothing to generate"):
        _make(model_folder, conditions, "a")


def test_numbers_that_are_not_finite_never_become_pixels(model_folder: str, tmp_path: Path) -> None:
    conditions = _conditions(tmp_path, make_grid("a", height=HEIGHT, width=WIDTH))
    generator = _generator(model_folder, conditions)
    with torch.no_grad():
        next(iter(generator._pipeline.model.parameters())).fill_(float("nan"))
    with pytest.raises(ItemFailure, match="not finite"):
        generator.process(_item(conditions, "a"))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("no folder", "is no exported model"),
        ("cut weights", "cannot be read"),
        ("no json", "is not JSON"),
        ("base model", "holds a base model"),
    ],
)
def test_a_bad_model_is_one_sentence_and_nothing_is_planned(
    fault: str, sentence: str, model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = _conditions(tmp_path / "conditions", make_grid("a"))
    model, out = tmp_path / "model", tmp_path / "out"
    if fault != "no folder":
        model.mkdir()
        weights = (Path(model_folder) / "model.safetensors").read_bytes()
        config = (Path(model_folder) / "config.json").read_text()
        (model / "model.safetensors").write_bytes(weights[:-100] if fault == "cut weights" else weights)
        config = "{" if fault == "no json" else config.replace('"grid"', '"base"') if fault == "base model" else config
        (model / "config.json").write_text(config)
    assert main(["--model", str(model), "--conditions", conditions, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.ray
def test_the_job_makes_every_grid_once_and_goes_on_where_it_stopped(model_folder: str, tmp_path: Path) -> None:
    grids = [make_grid(f"g{i}", height=HEIGHT, width=WIDTH, view_step_px=i) for i in range(3)]
    thin = make_grid("thin", views=1, height=HEIGHT, width=WIDTH)
    conditions = _conditions(tmp_path / "conditions", *grids, thin)
    config = Config(
        model=model_folder, conditions=conditions, out=str(tmp_path / "out"), steps=1, items_per_shard=2, workers=1
    )
    out = tmp_path / "out"
    with ray_session(1):
        summary = generate(config)
        assert (summary.grids, dict(summary.quarantined)) == (3, {"nothing_to_generate": 1})
        before = {path.name: path.read_bytes() for path in out.glob("shard-*.tar")}
        if not torch.cuda.is_available():  # its workers ask Ray for one each, or none would see it
            with pytest.raises(UserError, match="generate needs a GPU, but Ray counts none"):
                generate(dataclasses.replace(config, out=str(tmp_path / "on-gpu"), device="cuda"))
        shared = dataclasses.replace(config, device="cuda", gpu_share=0.25)
        assert (_data_job(config).gpus_per_worker, _data_job(shared).gpus_per_worker) == (0, 0.25)
        assert _data_job(shared).settings == _data_job(config).settings
        for other in ({"limit": 1}, {"conditions": str(tmp_path)}):
            assert _data_job(dataclasses.replace(config, **other)).settings != _data_job(config).settings
        with pytest.raises(UserError, match="--gpu-share is 0: give a part of a GPU"):
            generate(dataclasses.replace(shared, gpu_share=0.0))
        for path in out.glob("shard-000000.*"):
            path.unlink()
        assert generate(config).made_now == 2
    assert {path.name: path.read_bytes() for path in out.glob("shard-*.tar")} == before
    assert [grid.key for grid in read_grids(Storage(str(out)))] == ["g0", "g1", "g2"]
    stored = next(read_grids(Storage(str(out)))).decode()
    np.testing.assert_array_equal(stored.frames[0], grids[0].frames[0])
