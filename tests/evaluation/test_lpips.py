"""LPIPS beside the same sums written out in numpy, on weights in the published files' format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from synthetic_grids import make_grid
from tiny_weights import networks, write_lpips

from fourreal.evaluation.metrics import LPIPS, Comparison
from fourreal.evaluation.networks import Networks
from fourreal.evaluation.pretrained import WeightsStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_lpips(folder)
    return folder


def _windows(x: np.ndarray, side: int, stride: int, padding: int) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    return sliding_window_view(padded, (side, side), axis=(1, 2))[:, ::stride, ::stride]


def _in_numpy(folder: Path, one: np.ndarray, other: np.ndarray) -> float:
    """Zhang et al. 2018, equation 1, in float64."""
    alexnet = torch.load(folder / "lpips" / "alexnet-owt-7be5be79.pth", weights_only=True)
    linear = torch.load(folder / "lpips" / "alex.pth", weights_only=True)
    layers = [(0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False)]
    x = [
        ((frame.transpose(2, 0, 1) / 127.5 - 1) - np.array([-0.030, -0.088, -0.188])[:, None, None])
        / np.array([0.458, 0.448, 0.450])[:, None, None]
        for frame in (one, other)
    ]
    total = 0.0
    for layer, (index, stride, padding, pooled) in enumerate(layers):
        weight = alexnet[f"features.{index}.weight"].double().numpy()
        bias = alexnet[f"features.{index}.bias"].double().numpy()
        for n in range(2):
            if pooled:
                x[n] = _windows(x[n], 3, 2, 0).max(axis=(-1, -2))
            windows = _windows(x[n], weight.shape[-1], stride, padding)
            x[n] = np.maximum(np.einsum("chwij,ocij->ohw", windows, weight, optimize=True) + bias[:, None, None], 0)
        a, b = (v / (np.sqrt((v**2).sum(axis=0)) + 1e-10) for v in x)
        lin = linear[f"lin{layer}.model.1.weight"].double().numpy()[0]
        total += float((lin * (a - b) ** 2).sum(axis=0).mean())
    return total


def test_lpips_is_what_the_paper_says(folder: Path) -> None:
    reference = make_grid(height=40, width=56).frames[0, :2]
    prediction = np.clip(reference.astype(int) + np.random.default_rng(0).integers(-40, 40, reference.shape), 0, 255)
    prediction = prediction.astype(np.uint8)
    metric = LPIPS(networks(folder))
    score = metric.compute(Comparison("k", prediction, reference))
    expected = np.mean([_in_numpy(folder, a, b) for a, b in zip(prediction, reference, strict=True)])
    assert score.value == pytest.approx(float(expected), rel=1e-4)
    assert score.frames == 2
    assert set(metric.weights) == {"alexnet-owt-7be5be79.pth", "alex.pth"}
    assert metric.compute(Comparison("k", reference, reference)).value == 0.0


def test_frames_too_small_for_alexnet_are_said_to_be(folder: Path) -> None:
    metric = LPIPS(networks(folder))
    for side, small in ((30, True), (31, False)):
        frames = np.zeros((1, side, 40, 3), np.uint8)
        assert ("smaller than the 31 pixels" in metric.compute(Comparison("k", frames, frames)).reason) == small


def test_weights_of_another_network_are_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lpips").mkdir()
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "lpips" / "alexnet-owt-7be5be79.pth")
    (tmp_path / "lpips" / "alex.pth").write_bytes((folder / "lpips" / "alex.pth").read_bytes())
    frames = np.zeros((1, 40, 40, 3), np.uint8)
    reason = LPIPS(networks(tmp_path)).compute(Comparison("k", frames, frames)).reason
    assert "cannot be loaded" in reason
    assert "\n" not in reason
    # With the registry as it is, a file that is not the published one is refused before it is read.
    reason = LPIPS(Networks(WeightsStore(str(tmp_path)))).compute(Comparison("k", frames, frames)).reason
    assert "published is 7be5be79 (its first digits)" in reason
