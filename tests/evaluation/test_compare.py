"""`fourreal compare` and the papers' protocols: what is printed, written and recorded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_grids import make_grid

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.compare import Config, compare, main
from fourreal.evaluation.evaluate import Config as EvaluateConfig
from fourreal.evaluation.evaluate import evaluate
from fourreal.evaluation.given import BORDER
from fourreal.evaluation.protocol import PROTOCOLS
from fourreal.platform import tracking
from fourreal.platform.codec import encode
from fourreal.platform.grid import Grid
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

GRIDS = 8


def _predicted(reference: Grid, noise: int, model: str) -> Grid:
    rng = np.random.default_rng([noise, *reference.key.encode()])
    frames = reference.frames.copy()
    made = frames[1:, 1:].astype(int)
    frames[1:, 1:] = (made + rng.integers(-noise, noise + 1, made.shape)).clip(0, 255)
    provenance = {"given": BORDER, "model_sha256": model * 32, "steps": 4, "seed": 0}
    meta = dataclasses.replace(reference.meta, provenance=provenance)
    return dataclasses.replace(reference, frames=frames, meta=meta)


def _write(folder: Path, grids: list[Grid]) -> str:
    write_shard(Storage(str(folder)), 0, [(grid.key, encode(grid, lossless=True)) for grid in grids])
    return str(folder)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A reference and three models: `fine`, `coarse`, and `twin`, which is as good as `fine` and lacks one grid."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    references = [make_grid(f"g{n}", 3, 4, 24, 32, view_step_px=n + 1) for n in range(GRIDS)]
    models = {"fine": (20, "aa"), "coarse": (40, "bb"), "twin": (21, "cc")}
    made = {name: [_predicted(r, noise, digest) for r in references] for name, (noise, digest) in models.items()}
    return {
        "references": _write(tmp_path / "references", references),
        **{name: _write(tmp_path / name, grids[name == "twin" :]) for name, grids in made.items()},
    }


def test_models_are_compared_grid_by_grid_and_the_better_one_is_named(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config((folders["fine"], folders["coarse"]), folders["references"], metrics=("psnr", "ssim", "fid"))
    result = compare(config)
    printed = capsys.readouterr().out
    psnr = next(contest for contest in result.contests if contest.metric.name == "psnr")
    fine, coarse = (
        {key: score.value for key, score in result.boards[name].tallies["model", "psnr"].scores.items()}
        for name in ("fine", "coarse")
    )
    gaps = [fine[key] - coarse[key] for key in fine]  # type: ignore[operator]
    assert psnr.difference is not None
    assert psnr.difference.value == pytest.approx(np.mean(gaps))
    assert psnr.difference.p == pytest.approx(2 / 2**GRIDS)  # all eight say the same
    assert psnr.p_holm == pytest.approx(2 * 2 / 2**GRIDS)  # two tests: FID has no weights
    assert psnr.better == "fine"
    for name in ("fine", "coarse", *BASELINES):
        assert f"\n{name}" in f"\n{printed}"
    assert "2 tests stand in this table" in printed
    assert "FID is unavailable for 8 of 8 grids" in printed
    document = json.loads(Path("outputs/comparison/comparison.json").read_text())
    assert [row["metric"] for row in document] == ["psnr", "ssim", "fid"]
    assert document[2]["difference"] is None
    runs = tracking.client().search_runs(experiment_names=["evaluation"], output_format="list")
    below = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert set(below) == {"fine", "coarse", *BASELINES}
    assert below["coarse"].data.tags["model_sha256"] == "bb" * 32
    assert "#/compare-runs?runs=" in result.recorded.comparison
    (whole,) = [run for run in runs if run.info.run_id == result.recorded.run_id]
    assert {i.tags[0].value for i in whole.inputs.dataset_inputs} == {
        "predictions_of_fine",
        "predictions_of_coarse",
        "references",
    }


def test_grids_of_one_asset_are_no_more_than_it(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight grids of five assets: the same gaps, of which five exchanges cannot decide any."""
    references = [make_grid(f"g{n}", 3, 4, 24, 32, view_step_px=n + 1) for n in range(GRIDS)]
    metas = [dataclasses.replace(grid.meta, source_sha256=f"asset-{n % 5}") for n, grid in enumerate(references)]
    alike = [dataclasses.replace(grid, meta=meta) for grid, meta in zip(references, metas, strict=True)]
    settings = Config((folders["fine"], folders["coarse"]), _write(tmp_path / "alike", alike), metrics=("psnr",))
    (psnr,) = compare(settings).contests
    assert psnr.difference is not None
    assert (psnr.difference.grids, psnr.difference.sources, psnr.better) == (GRIDS, 5, "")
    assert psnr.difference.p == pytest.approx(2 / 2**5)
    assert "5 here); p by exchanging" in capsys.readouterr().out


def test_only_grids_that_all_models_made_count(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    result = compare(Config((folders["fine"], folders["twin"]), folders["references"], metrics=("psnr",)))
    assert {name: board.grids for name, board in result.boards.items()} == {"fine": GRIDS - 1, "twin": GRIDS - 1}
    assert "g0: not generated by twin" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fine"], "name two folders of predictions or more"),
        (["fine", "fine"], "cannot be told apart by fine, fine"),
        (["fine", "twin", "--names", "a"], "--names gives 1 names for 2 folders"),
        (["fine", "twin", "--names", "average", "b"], "cannot be told apart"),
        (["fine", "coarse", "--resamples", "0"], "--resamples 0 leaves nothing to compare by"),
        (["fine", "coarse", "--workers", "0"], "--workers must be at least 1, not 0"),
        (["fine", "references"], "none of 8 grids can be compared"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    arguments: list[str], sentence: str, folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [folders.get(argument, argument) for argument in arguments]
    assert main([*given, "--references", folders["references"], "--metrics", "psnr"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_protocol_prints_the_papers_table_with_what_is_not_the_protocol(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluate(EvaluateConfig(folders["fine"], folders["references"], protocol="4real-video-v2"))
    printed = capsys.readouterr().out
    head, _, rest = printed.partition("\n")
    assert head.split() == ["PSNR", "SSIM", "LPIPS", "N"]
    psnr = result.board.score("model", result.board.metrics[0])
    assert f"{psnr.value:.2f} [" in rest.splitlines()[1]
    assert "V2 fused (published)" in printed
    assert "22.49" in printed
    assert "they show the scale, no comparison" in printed
    assert (
        "NOT THE PROTOCOL: views x times: 3 x 4 instead of 8 x 29; resolution: 24x32 instead of 144x256; grids: 8"
        in (printed)
    )
    document = json.loads((Path(folders["fine"]) / "evaluation" / "metrics.json").read_text())
    assert document["protocol"]["name"] == "4real-video-v2"
    row = next(row for row in document["scores"] if (row["method"], row["metric"]) == ("model", "psnr"))
    low, high = row["interval_95"]
    assert low < row["value"] < high


def test_the_protocols_hold_together() -> None:
    from fourreal.evaluation.metrics import all_metrics

    for protocol in PROTOCOLS.values():
        assert set(protocol.metrics) <= set(all_metrics())
        for cells in protocol.published.values():
            assert len(cells) == len(protocol.columns)
            for cell, column in zip(cells, protocol.columns, strict=True):
                assert not cell or len(cell.split(" / ")) == len(column.metrics)
