"""From scores to values, differences, verdicts and the page that says them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.evaluation.studies.small_study import KEYS, PSNR_DB, REASON, fill, small_config

from fourreal.evaluation.baselines import BASELINES
from fourreal.evaluation.comparison import SIGNIFICANT
from fourreal.evaluation.studies import figures
from fourreal.evaluation.studies.arms import ARMS, MAIN
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.report import write_report
from fourreal.evaluation.studies.summary import Findings, Method, findings


@pytest.fixture
def found(tmp_path: Path) -> Findings:
    config = small_config(tmp_path)
    ledger = Ledger.open(config)
    fill(config, ledger, PSNR_DB)
    return findings(config, {"procedural": {key: key for key in KEYS}}, ledger)[0]


def test_a_value_is_the_mean_over_seeds_and_grids_with_an_interval_over_grids(found: Findings) -> None:
    value = found.values[Method("soft", 4), "psnr"]
    assert value.value == pytest.approx(19.0 + 1.0 + 0.65)
    assert value.seeds == pytest.approx((19.65, 21.65))
    assert value.seed_deviation == pytest.approx(2**0.5)
    assert value.grids == len(KEYS)
    assert value.interval is not None
    assert 20.2 < value.interval.low < value.value < value.interval.high < 21.1  # seeds do not widen it


def test_what_was_trained_at_time_1_alone_is_judged_at_one_step(found: Findings) -> None:
    assert [method.steps for method in found.methods if method.name == "regression"] == [1]


def test_differences_are_taken_at_equal_steps_and_decided_by_a_test(found: Findings) -> None:
    gaps = {(gap.steps, gap.other, gap.metric.name): gap for gap in found.gaps}
    assert (1, Method("sequential", 4), "psnr") not in gaps
    better = gaps[1, Method("sequential", 1), "psnr"]
    assert better.difference.value == pytest.approx(2.0)
    assert better.better == "main"
    assert gaps[4, Method("average"), "psnr"].better == "other"


def test_what_compares_with_nothing_is_not_judged(found: Findings) -> None:
    """A copy flickers less than the true grids: nobody is better for it."""
    assert {gap.metric.name for gap in found.gaps} == {"psnr"}
    assert found.values[Method("soft", 4), "flicker"].value == 3.0


def test_few_assets_decide_nothing_however_many_grids_they_have(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    ledger = Ledger.open(config)
    fill(config, ledger, PSNR_DB)
    (found,) = findings(config, {"procedural": {key: f"asset-{i % 5}" for i, key in enumerate(KEYS)}}, ledger)
    assert (found.grids, found.sources) == (len(KEYS), 5)
    assert not any(gap.better for gap in found.gaps)
    assert min(gap.difference.p or 1 for gap in found.gaps) == pytest.approx(2 / 2**5)


def test_bars_are_held_against_what_was_measured(found: Findings) -> None:
    margins = {
        claim.text.split(" over the whole")[0]: (round(claim.margin, 2), claim.reached) for claim in found.claims
    }
    assert margins == {
        "soft, 1 step beats the average by 1.5 dB": (2.0, True),
        "soft, 1 step beats the blurred average by 0.5 dB": (0.2, False),
        "soft, 4 steps beats the average": (-1.0, False),
    }


def test_the_larger_study_is_held_against_every_baseline_on_real_grids(tmp_path: Path) -> None:
    config = small_config(tmp_path, bar="gpu", metrics=("psnr_foreground", "flicker", "lpips"))
    ledger = Ledger.open(config)
    fill(config, ledger, PSNR_DB, "real", metric="psnr_foreground")
    (found,) = findings(config, {"real": {}}, ledger)
    verdicts = {claim.text: claim.reached for claim in found.claims}
    assert len(verdicts) == len(BASELINES)  # of LPIPS, which has no value, none
    assert verdicts["soft, 4 steps beats the copy along time by 1.5 dB over the foreground (real grids)"]
    assert not verdicts["soft, 4 steps beats the average by 1.5 dB over the foreground (real grids)"]


def test_a_bar_is_held_over_grids_that_both_have_a_value_of(tmp_path: Path) -> None:
    """Without its best grids a baseline has a lower mean, and is no worse for it."""
    config = small_config(tmp_path)
    ledger = Ledger.open(config)
    fill(config, ledger, PSNR_DB)
    baselines = ledger.find("baselines/procedural")
    assert baselines is not None
    for key in KEYS[7:]:
        baselines["average"]["psnr"][key] = [None, 0, "no frame"]
    ledger.finish("baselines/procedural", baselines)
    (found,) = findings(config, {"procedural": {}}, ledger)
    assert found.claims[0].margin == pytest.approx(2.0)


def test_a_study_without_psnr_has_no_curve_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_curves", "_synchronization"):  # which read the models
        monkeypatch.setattr(figures, name, lambda *_: None)
    config = small_config(tmp_path, metrics=("psnr_foreground",))
    ledger = Ledger.open(config)
    fill(config, ledger, PSNR_DB, metric="psnr_foreground")
    figures.write_figures(tmp_path, config, findings(config, {"procedural": {}}, ledger), {}, {}, {})
    assert not (tmp_path / "steps.png").exists()


def test_the_report_says_what_is_missing_and_what_was_not_reached(found: Findings, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    base = {
        "procedural": {
            "base": 20.0,
            "blend": 19.0,
            "difference": 1.0,
            "interval_95": [0.5, 1.5],
            "grids": 8,
            "sources": 8,
        }
    }
    fits = {(arm, seed): {"wall_s": 60.0, "curves": {}} for arm in config.arms for seed in range(config.seeds)}
    parts = {"soft": {"procedural": {"whole": 22.0, "transformer alone": 21.0, "refinement alone": 21.9}}, "hard": {}}
    text = write_report(tmp_path, config, [found], base, fits, parts)
    assert "| soft, procedural | 22.00 | 21.00 | 21.90 |" in text
    assert f"- LPIPS: {REASON}" in text
    assert "- NOT reached: soft, 4 steps beats the average over the whole image (procedural grids): -1.00 dB" in text
    assert "| soft, 4 steps | 20.65 ±1.414 [" in text
    document = json.loads((tmp_path / "study.json").read_text())
    row = next(r for r in document["tests"]["procedural"]["scores"] if (r["method"], r["metric"]) == ("soft", "psnr"))
    assert row["seeds"] == pytest.approx([22.65, 24.65])


def test_by_default_enough_is_drawn_for_holms_correction_to_decide_something(tmp_path: Path) -> None:
    config = Config(out=tmp_path)
    others = [ARMS[name].steps(config.sampling_steps) for name in config.arms if name != MAIN]
    compared = sum(map(len, others)) + len(BASELINES) * len(config.sampling_steps)
    tests = (len(config.metrics) + 1) * compared  # and reconstruction
    assert tests / (config.resamples + 1) < SIGNIFICANT  # the least p there is, as Holm takes it
