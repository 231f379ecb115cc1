"""DUSt3R's confidence and MEt3R over stand-ins of their packages, and what is said where the packages are missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_grids import make_grid
from tiny_weights import networks

from fourreal.evaluation.metrics import Comparison, DUSt3RConfidence, MEt3RScore
from fourreal.evaluation.metrics.view_pairs import THRESHOLDS, neighbours
from fourreal.evaluation.networks import Networks
from fourreal.evaluation.networks.dust3r import prepared
from fourreal.evaluation.pretrained import WeightsStore

STAND_INS = Path(__file__).parent / "stand_ins"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(STAND_INS))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("dust3r", "met3r")]:
        del sys.modules[name]


def _comparison() -> Comparison:
    frames = make_grid("k", 3, 2, 36, 64).frames
    made = np.ones((3, 2), bool)
    made[0, :] = made[:, 0] = False
    return Comparison("k", frames[made], grid=frames, made=made)


@pytest.mark.usefixtures("packages")
def test_confidence_is_the_share_of_both_maps_above_each_threshold(tmp_path: Path) -> None:
    from dust3r.model import AsymmetricCroCo3DStereo  # type: ignore[import-not-found]

    AsymmetricCroCo3DStereo().save_pretrained(tmp_path / "dust3r")
    sample, tiny = _comparison(), networks(tmp_path)
    pairs = [(sample.grid[v, 1], sample.grid[v + 1, 1]) for v in (0, 1)]  # type: ignore[index]
    shares = []
    for one, other in pairs:
        a, b = (
            np.asarray(Image.fromarray(f).resize((512, 288), Image.Resampling.BICUBIC)) / 127.5 - 1
            for f in (one, other)
        )
        confidence = 1 + 3 * ((a - b) ** 2).mean(axis=-1)
        shares.append([(confidence > threshold).mean() for threshold in THRESHOLDS])
    values = []
    for index, threshold in enumerate(THRESHOLDS):
        metric = DUSt3RConfidence(tiny, threshold)
        score = metric.compute(sample)
        assert score.value == pytest.approx(100 * np.mean(shares, axis=0)[index], abs=0.01)
        assert score.frames == 2
        assert set(metric.weights) == {"config.json", "model.safetensors"}
        values.append(score.value)
    assert values[0] > values[1] > values[2] > 0
    assert tiny.cache.made == 2  # three thresholds cost one pass for each pair


@pytest.mark.usefixtures("packages")
def test_met3r_is_the_mean_of_its_package_over_pairs_of_views() -> None:
    sample = _comparison()
    metric = MEt3RScore(Networks())
    score = metric.compute(sample)
    expected = []
    for one, other in neighbours(sample):
        wide = [
            np.asarray(Image.fromarray(f).resize((455, 256), Image.Resampling.BICUBIC), float) for f in (one, other)
        ]
        expected.append(np.abs(wide[0] - wide[1])[:, 99:355].mean() / 127.5 / 2)
    assert score.value == pytest.approx(np.mean(expected), rel=1e-4)
    assert list(metric.weights) == ["met3r unversioned"]
    assert len(metric.weights["met3r unversioned"]) == 64


def test_without_the_packages_the_sentence_says_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "dust3r").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "dust3r" / name).write_bytes(b"{}")
    reason = DUSt3RConfidence(networks(tmp_path), 2.0).compute(_comparison()).reason
    assert reason == (
        "the package dust3r is missing: clone https://github.com/naver/dust3r with its submodules and put that folder "
        "on PYTHONPATH"
    )
    assert "the package met3r is missing: pip install git+" in MEt3RScore(Networks()).compute(_comparison()).reason
    missing = DUSt3RConfidence(Networks(WeightsStore(str(tmp_path / "nothing"))), 2.0).compute(_comparison())
    assert "`fourreal weights fetch dust3r`" in missing.reason


def test_a_grid_of_one_view_has_no_pairs() -> None:
    frames = make_grid("k", 1, 3, 36, 64).frames
    sample = Comparison("k", frames[0], grid=frames)
    assert MEt3RScore(Networks()).compute(sample).reason == "there are no neighbouring views of which one was generated"


@pytest.mark.parametrize(
    ("size", "expected"), [((36, 64), (288, 512)), ((100, 100), (384, 512)), ((900, 600), (512, 336))]
)
def test_frames_reach_dust3r_in_whole_patches(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert prepared(np.zeros((*size, 3), np.uint8)).shape == (*expected, 3)
