"""What each stage trains and what it starts from: recipes, chains, frames of another size, the upsampler."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import SMALL, config_of
from loop_runs import run, settings_for, torch_engine

from fourreal.platform.config import parse, parse_stages
from fourreal.platform.errors import UserError
from fourreal.training.checkpoint.snapshots import copied
from fourreal.training.model import GridModel, PixelBackbone, Upsampler, load_model, save_pretrained
from fourreal.training.recipes import CHAINS, RECIPES
from fourreal.training.settings.checks import check
from fourreal.training.settings.config import Config
from fourreal.training.stage.assembly import build_model, finished_model, model_skeleton
from fourreal.training.stage.exports import load_any
from fourreal.training.stage.settings import stage_settings
from fourreal.training.train import chained

MakeFolder = Callable[..., str]


def recipe(name: str, *flags: str) -> Config:
    return parse(Config, ["--recipe", name, *flags], prog="fourreal train", recipes=RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_configuration_that_holds(name: str) -> None:
    data = "abcd" if "v2" in name else "a"
    config = recipe(name, "--data", *data, "--out", f"runs/{name}")
    check(config)
    if config.start_from is None:
        assert config.stage != "grid"
    else:  # it names a recipe that makes what it needs
        needed = recipe(config.start_from, "--data", "a", "--out", "b")
        assert needed.stage in (("base", "grid") if config.stage == "grid" else ("base",))
        assert config.start_from.split("-")[0] == name.split("-", maxsplit=1)[0]


def test_what_the_papers_say() -> None:
    grid, later = (
        recipe("paper-grid-pseudo4d", "--data", "a", "--out", "b"),
        recipe("paper-grid-objaverse", "--data", "a", "--out", "b"),
    )
    assert (grid.steps, later.steps, grid.views, grid.times) == (20_000, 3_000, 8, 8)
    v2 = recipe("paper-grid-v2", "--data", *"abcd", "--out", "b")
    assert (v2.steps, v2.batch_size * v2.workers, v2.optimizer.lr) == (4_000, 96, 1e-4)
    assert v2.mixture.weights == (0.4, 0.2, 0.2, 0.2)
    assert (v2.model.architecture, v2.model.train) == ("fused", "self-attention")
    sizes = [recipe(f"paper-base-{size}", "--data", "a", "--out", "b").model for size in ("36x64", "72x128")]
    assert [(model.height, model.width) for model in sizes] == [(36, 64), (72, 128)]


def test_a_chain_runs_each_stage_from_the_one_before() -> None:
    flags = ["--recipe", "tiny", "--data", "a", "--out", "runs/all"]
    stages = chained(parse_stages(Config, flags, prog="fourreal train", recipes=RECIPES, chains=CHAINS))
    assert [config.out for config in stages.values()] == [
        "runs/all/tiny-base-36x64", "runs/all/tiny-base-72x128", "runs/all/tiny-grid-pseudo4d", "runs/all",
    ]  # fmt: skip
    assert [config.start_from for config in stages.values()] == [None, *[config.out for config in stages.values()][:-1]]
    for config in stages.values():
        check(config)


@pytest.mark.parametrize("extras", [{}, {"references": True, "refinement": 4}], ids=["plain", "with references"])
def test_a_model_is_found_by_its_runs_name_and_goes_on_at_another_size(
    extras: dict[str, Any], make_folder: MakeFolder, tmp_path: Path
) -> None:
    """Progressive resolution: every weight is that of the smaller model; then the grid stage, twice."""
    folder = make_folder("a")
    first = settings_for(folder, model={**SMALL, **extras})
    save_pretrained(build_model(first, None), tmp_path / "first" / "model")
    fields: dict[str, Any] = {"views": 3, "times": 3, "workers": 1, "engine": {"kind": "torch"}}
    second = stage_settings(
        config_of((folder,), str(tmp_path / "second"), start_from="first", model={"height": 32, "width": 48}, **fields)
    )
    base = load_any(str(tmp_path / "first" / "model"))
    larger = build_model(second, base)
    assert isinstance(larger, PixelBackbone)
    assert (larger.config.height, larger.config.width, larger.config.hidden_dim) == (32, 48, 64)
    for name, tensor in base.state_dict().items():
        assert torch.equal(larger.state_dict()[name], tensor), name
    save_pretrained(larger, tmp_path / "second" / "model")
    grid_fields = {**fields, "stage": "grid", "steps": 2, "batch_size": 2}
    third = stage_settings(config_of((folder,), str(tmp_path / "third"), start_from="second", **grid_fields))
    engine = torch_engine(third, load_any(str(tmp_path / "second" / "model")))
    run(third, engine, None, None)
    save_pretrained(finished_model(model_skeleton(third), copied(engine.weights())), tmp_path / "third" / "model")
    fourth = stage_settings(config_of((folder,), str(tmp_path / "fourth"), start_from="third", **grid_fields))
    assert fourth.model.architecture == "soft"
    again = build_model(fourth, load_any(str(tmp_path / "third" / "model")))
    assert isinstance(again, GridModel)
    for name, tensor in engine.weights().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    trained = {name for name, parameter in again.named_parameters() if parameter.requires_grad}
    added = ("view_time.", *(f"{name}." for name in extras))
    assert trained == {name for name, _ in again.named_parameters() if name.startswith(added)}
    assert {name.split(".")[0] for name in trained} == {"view_time", *extras}


def test_an_export_from_before_an_option_is_told_apart_from_what_is_asked(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder("a")
    exported = save_pretrained(build_model(settings_for(folder), None), tmp_path / "old" / "model")
    config = json.loads((Path(exported) / "config.json").read_text())
    del config["model"]["refinement"]
    (Path(exported) / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"asked for 4: leave --model\.refinement out"):
        stage_settings(config_of((folder,), "unused", start_from=str(exported), stage="grid", model={"refinement": 4}))


def test_folders_are_found_from_anywhere(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in folders of their own."""
    folder = Path(make_folder("a"))
    monkeypatch.chdir(folder.parent)
    settings = stage_settings(config_of(("a/",), "run", views=3, times=3, model=SMALL, workers=1))
    assert (settings.data.folders, settings.out) == ((str(folder),), str(folder.parent / "run"))


def test_the_upsampler_stage_learns_and_its_export_upsamples(make_folder: MakeFolder, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"stage": "upsampler", "model": {**SMALL, "patch_size": 4, "upscale": 2}, "steps": 40,
                              "optimizer": {"warmup_steps": 5, "schedule": "constant"}}  # fmt: skip
    settings = settings_for(make_folder("a"), **fields)
    engine = torch_engine(settings)
    reports = run(settings, engine, None, tmp_path / "checkpoint")
    losses = [report.loss for report in reports]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    again = torch_engine(settings)
    run(settings, again, tmp_path / "checkpoint", None)
    for name, tensor in engine.weights().items():
        assert torch.equal(again.weights()[name], tensor), name
    split = replace(settings, engine=replace(settings.engine, micro_batches=2), steps=3)
    assert [report.loss for report in run(split, torch_engine(split), None, None)] == pytest.approx(
        losses[:3], rel=1e-4
    )
    save_pretrained(finished_model(model_skeleton(settings), copied(engine.weights())), tmp_path / "model")
    model = load_model(tmp_path / "model", "upsampler")
    assert isinstance(model, Upsampler)
    made = model.upsample(np.zeros((2, 3, 8, 12, 3), np.uint8))
    assert made.shape == (2, 3, 16, 24, 3)
