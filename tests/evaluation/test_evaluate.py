from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from synthetic_grids import make_grid

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.evaluate import Config, evaluate, main
from fourreal.evaluation.exported import model_sha256
from fourreal.evaluation.fit import Fit
from fourreal.evaluation.given import BORDER
from fourreal.evaluation.grid_scores import METHODS, MODEL, sampling_label
from fourreal.evaluation.metrics import STANDARD, choose_metrics
from fourreal.evaluation.pairing import NotCompared, Pair, pair_up
from fourreal.evaluation.report import table
from fourreal.evaluation.scoring import Scoreboard, score_pairs
from fourreal.evaluation.shelf import Shelf
from fourreal.platform import tracking
from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.shards import list_shards, shards_sha256, write_shard
from fourreal.platform.storage import Storage


def _write(folder: Path, *grids: Grid) -> str:
    write_shard(Storage(str(folder)), 0, [(grid.key, encode(grid, lossless=True)) for grid in grids])
    return str(folder)


def _predicted(reference: Grid, noise: int = 0, **provenance: Any) -> Grid:
    """The reference with so many grey levels of error on what was generated."""
    frames = reference.frames.copy()
    frames[1:, 1:] = np.where(frames[1:, 1:] > 127, frames[1:, 1:] - noise, frames[1:, 1:] + noise)
    provenance = {"given": BORDER, "model_sha256": "ab" * 32, "steps": 4, **provenance}
    return dataclasses.replace(
        reference, frames=frames, meta=dataclasses.replace(reference.meta, provenance=provenance)
    )


def _pairs(predictions: str, references: str) -> list[Pair | NotCompared]:
    return list(pair_up(Shelf(Storage(predictions)), Shelf(Storage(references))))


def _score(tmp_path: Path, predictions: list[Grid], references: list[Grid]) -> Scoreboard:
    pairs = _pairs(_write(tmp_path / "p", *predictions), _write(tmp_path / "r", *references))
    return score_pairs(pairs, choose_metrics(STANDARD))


def _values(board: Scoreboard, method: str) -> dict[str, float | None]:
    return {metric.name: board.score(method, metric).value for metric in board.metrics}


def test_only_generated_frames_count(tmp_path: Path) -> None:
    reference = make_grid("a")
    board = _score(tmp_path, [_predicted(reference, noise=10)], [reference])
    values = _values(board, MODEL)
    # Every generated frame has an error of exactly 10; counting the perfect given ones would raise it.
    assert values["psnr"] == pytest.approx(20 * math.log10(255 / 10))
    assert values["psnr_foreground"] == pytest.approx(20 * math.log10(255 / 10))
    assert board.score(MODEL, board.metrics[0]).frames == 2 * 3
    assert board.frames == 6


def test_baselines_are_scored_like_the_model(tmp_path: Path) -> None:
    reference = make_grid("a")
    frames = BASELINES["additive"](reference.frames[:, 0], reference.frames[0])
    prediction = dataclasses.replace(_predicted(reference), frames=frames)
    board = _score(tmp_path, [prediction], [reference])
    assert _values(board, MODEL) == _values(board, "additive")
    assert _values(board, MODEL) != _values(board, "average")
    assert set(METHODS) == {MODEL, *BASELINES}


def test_without_a_mask_the_foreground_is_unavailable_and_the_rest_is_not(tmp_path: Path) -> None:
    references = [make_grid("a"), make_grid("b", with_mask=False)]
    board = _score(tmp_path, [_predicted(r, 10) for r in references], references)
    psnr, foreground = board.score(MODEL, board.metrics[0]), board.score(MODEL, board.metrics[1])
    assert (psnr.samples, foreground.samples) == (2, 1)
    assert foreground.unavailable == {"the reference has no mask": 1}
    text = table(board)
    assert "(N 1)" in text
    assert "PSNR foreground dB is unavailable for 1 of 2 grids: the reference has no mask." in text


def test_where_nothing_has_a_mask_the_column_says_unavailable(tmp_path: Path) -> None:
    reference = make_grid("a", with_mask=False)
    board = _score(tmp_path, [_predicted(reference, 10)], [reference])
    assert _values(board, MODEL)["ssim_foreground"] is None
    assert "unavailable" in table(board)


def test_a_reference_of_the_conditions_size_is_fitted_as_recorded(tmp_path: Path) -> None:
    reference = make_grid("a", height=48, width=80)
    fit = Fit.between((48, 80), (24, 32))
    prediction = _predicted(fit.grid(reference), noise=10, fit=dataclasses.asdict(fit))
    board = _score(tmp_path, [prediction], [reference])
    assert _values(board, MODEL)["psnr"] == pytest.approx(20 * math.log10(255 / 10))
    assert "48x80 cut to 48x64 and resized to 24x32" in table(board)
    pair = _pairs(str(tmp_path / "p"), str(tmp_path / "r"))[0]
    assert isinstance(pair, Pair)
    expected = cv2.resize(reference.frames[1, 1, :, 8:72], (32, 24), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(pair.reference[1, 1], expected)


@pytest.mark.parametrize(
    ("prediction", "reference", "reason"),
    [
        (_predicted(make_grid("a")), make_grid("b"), "holds no reference of this key"),
        (_predicted(make_grid("a")), make_grid("a", views=4), "3 views and 4 times, the reference 4 and 4"),
        (
            _predicted(make_grid("a")),
            make_grid("a", height=48, width=64),
            "the prediction is 24x32, the reference 48x64, and the prediction's provenance does not say",
        ),
        (
            _predicted(make_grid("a"), fit=dataclasses.asdict(Fit.between((30, 40), (24, 32)))),
            make_grid("a", height=48, width=64),
            "its conditions were 30x40 resized to 24x32",
        ),
        (_predicted(make_grid("a"), given=None), make_grid("a"), "does not say which frames were given"),
        (
            _predicted(make_grid("a"), given=[[v, t] for v in range(3) for t in range(4)]),
            make_grid("a"),
            "nothing was generated",
        ),
        (_predicted(make_grid("a")), make_grid("a", view_step_px=17, time_step_px=9), "another grid of the same key"),
    ],
)
def test_what_cannot_be_compared_is_told_with_its_reason(
    prediction: Grid, reference: Grid, reason: str, tmp_path: Path
) -> None:
    good = make_grid("good")
    board = _score(tmp_path, [prediction, _predicted(good, 10)], [reference, good])
    assert reason in board.not_compared["a"]
    assert board.grids == 1  # the other one still counts
    assert reason in table(board)


def test_with_one_video_given_the_model_is_scored_and_baselines_say_why_not(tmp_path: Path) -> None:
    reference = make_grid("a")
    prediction = _predicted(reference, 10, given=[[0, t] for t in range(4)])
    board = _score(tmp_path, [prediction], [reference])
    assert board.frames == 8
    assert _values(board, MODEL)["psnr"] is not None
    score = board.score("average", board.metrics[0])
    assert score.value is None
    assert "not both given" in score.reason


@pytest.fixture
def mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tracking.tracking_uri()


def test_the_command_writes_and_records_everything(
    tmp_path: Path, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    references = [make_grid(key, source_uri="https://example.org/x") for key in "abc"]
    predictions = _write(tmp_path / "p", *(_predicted(r, 10) for r in references), _predicted(make_grid("lost")))
    result = evaluate(Config(predictions, _write(tmp_path / "r", *references)))
    printed = capsys.readouterr().out
    out = tmp_path / "p" / "evaluation"
    assert (out / "table.txt").read_text() in printed
    document = json.loads((out / "metrics.json").read_text())
    assert document["grids"] == 3
    assert list(document["not_compared"]) == ["lost"]
    row = next(r for r in document["scores"] if r["method"] == MODEL and r["metric"] == "psnr")
    assert row["value"] == pytest.approx(20 * math.log10(25.5))
    assert (row["samples"], row["frames"], row["resolution"], row["fps"]) == (3, 18, {"24x32": 3}, {"8": 3})
    assert row["model_sha256"] == ["ab" * 32]
    samples = json.loads((out / "samples.json").read_text())
    assert len(samples) == 3 * 6 * 4
    assert cv2.imread(str(out / "contact-sheet.png")) is not None
    assert 'id="frames-2-1"' in (out / "page.html").read_text()
    found = tracking.client().search_runs(experiment_names=["evaluation"], output_format="list")
    below = {run.info.run_name: run for run in found if "mlflow.parentRunId" in run.data.tags}
    (whole,) = [run for run in found if run.info.run_id not in {run.info.run_id for run in below.values()}]
    assert whole.info.run_id in result.recorded.run
    assert whole.data.metrics["model.psnr"] == pytest.approx(20 * math.log10(25.5))
    assert "copy_along_time.ssim_foreground" in whole.data.metrics
    client = tracking.client().MlflowClient()
    stored = {f.path for f in client.list_artifacts(whole.info.run_id)}
    assert {"metrics.json", "samples.json", "table.txt", "scores.png", "contact-sheet.png", "page.html"} <= stored
    assert [f.path for f in client.list_artifacts(whole.info.run_id, "videos")] == [f"videos/{k}.mp4" for k in "abc"]
    # The rows as runs, under one link, and the shards that they are about.
    assert set(below) == set(METHODS)
    assert all(run.info.run_id in unquote(result.recorded.comparison) for run in below.values())
    assert result.recorded.comparison in printed
    assert below[MODEL].data.metrics["psnr"] == whole.data.metrics["model.psnr"]
    assert below[MODEL].data.metrics["psnr.n"] == 3
    inputs = {i.tags[0].value: i.dataset for i in whole.inputs.dataset_inputs}
    digest = shards_sha256(list_shards(Storage(predictions)))
    assert inputs["predictions"].digest == digest[:32]
    assert whole.data.tags["fourreal.predictions_sha256"] == digest
    assert set(inputs) == {"predictions", "references"}


def test_the_model_enters_the_registry_once_with_its_scores(
    tmp_path: Path, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    digest = model_sha256(str(model))
    reference = make_grid("a")
    folders = [
        *("--predictions", _write(tmp_path / "p", _predicted(reference, 10, model_sha256=digest))),
        *("--references", _write(tmp_path / "r", reference), "--metrics", "psnr"),
    ]
    for _ in range(2):
        assert main([*folders, "--register", "demo", "--model", str(model)]) == 0
    assert "registered: model 'demo', version 1" in capsys.readouterr().out
    client = tracking.client().MlflowClient()
    (version,) = client.search_model_versions("name = 'demo'")
    assert float(version.tags["psnr"]) == pytest.approx(20 * math.log10(25.5), rel=1e-5)
    assert version.tags["model_sha256"] == digest
    assert "| psnr | 28.13 | 1 |" in version.description
    assert version.run_id != version.tags["evaluation_run"]  # the first evaluation brought it, the last one judged it
    stored = Path(client.download_artifacts(version.run_id, "model", str(tmp_path)))
    assert (stored / "model.safetensors").read_bytes() == b"weights"
    (model / "model.safetensors").write_bytes(b"others")
    assert main([*folders, "--register", "demo", "--model", str(model)]) == 2
    assert f"the predictions are of model {digest}" in capsys.readouterr().err
    assert main([*folders, "--register", "demo"]) == 2
    assert "go together" in capsys.readouterr().err
    assert main([*folders, "--shown", "0"]) == 2
    assert "--shown must be at least 1, not 0" in capsys.readouterr().err
    assert main([*folders, "--register", "demo", "--model", str(tmp_path)]) == 2
    assert "is no exported model" in capsys.readouterr().err


def test_when_nothing_can_be_compared_it_is_one_sentence(
    tmp_path: Path, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, references = _write(tmp_path / "p", _predicted(make_grid("a"))), _write(tmp_path / "r", make_grid("b"))
    assert main(["--predictions", predictions, "--references", references]) == 2
    error = capsys.readouterr().err
    assert "none of 1 grids can be compared; of 'a'" in error
    assert error.count("\n") == 1
    with pytest.raises(UserError, match="there is no grid in"):
        evaluate(Config(str(tmp_path / "nothing"), references))


def test_the_label_names_all_that_scores_of_one_model_differ_by() -> None:
    assert sampling_label({}) == "unknown steps"
    assert sampling_label({"steps": 4, "sampler": "euler", "shift": 1.0, "guidance": {"frames": 1.0}}) == (
        "4 steps of euler"
    )
    everything = {
        "steps": 20,
        "sampler": "unipc",
        "shift": 3.0,
        "guidance": {"frames": 2.0, "text": 1.0},
        "windows": [{}, {}],
        "upsampler": {"sha256": "ab" * 32, "steps": 6},
    }
    assert sampling_label(everything) == (
        "20 steps of unipc, time shift 3, guidance of frames 2, 2 windows, upsampled by abababababab in 6 steps"
    )


def test_a_dry_run_counts_pairs_and_writes_nothing(
    make_grid: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_grid("a"), make_grid("b")
    predictions = _write(tmp_path / "p", _predicted(first, 10), _predicted(second, 10))
    references = _write(tmp_path / "r", first)
    before = sorted(tmp_path.rglob("*"))
    folders = ["--predictions", predictions, "--references", references]
    assert main([*folders, "--metrics", "psnr", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "2, of which 1 have a reference" in told
    assert "psnr" in told
    assert sorted(tmp_path.rglob("*")) == before
    assert main([*folders, "--metrics", "psnrr", "--dry-run"]) == 2
