"""Scoring folders: the same from any number of workers, nothing twice through a network, faults in their place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_grids import make_grid
from tiny_weights import UNPUBLISHED, write_lpips, write_torchscript

from fourreal.evaluation.given import BORDER
from fourreal.evaluation.grid_scores import METHODS, MODEL
from fourreal.evaluation.networks import FeatureCache, Networks
from fourreal.evaluation.pretrained import WeightsStore
from fourreal.evaluation.report import table
from fourreal.evaluation.scoring import Scoreboard
from fourreal.evaluation.scoring_job import ScoringJob, score_folder
from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

METRICS = ("psnr", "ssim_foreground", "warping_error", "fid", "lpips")
KEYS = tuple("abcde")


def _predicted(reference: Grid, seed: int) -> Grid:
    frames = reference.frames.copy()
    made = frames[1:, 1:]
    noise = np.random.default_rng(seed).integers(0, 60, made.shape)
    frames[1:, 1:] = (made * 0.7 + noise).astype(np.uint8)
    meta = dataclasses.replace(reference.meta, provenance={"given": BORDER, "model_sha256": "ab" * 32, "seed": 0})
    return dataclasses.replace(reference, frames=frames, meta=meta)


def _write(folder: Path, grids: list[Grid], per_shard: int = 2) -> str:
    for index in range(0, len(grids), per_shard):
        part = [(grid.key, encode(grid, lossless=True)) for grid in grids[index : index + per_shard]]
        write_shard(Storage(str(folder)), index // per_shard, part)
    return str(folder)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("weights")
    write_torchscript(folder)
    write_lpips(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("grids")
    references = [make_grid(key, 3, 4, 32, 40, view_step_px=n + 1, time_step_px=n + 2) for n, key in enumerate(KEYS)]
    lost = make_grid("lost", 3, 4, 32, 40)
    predictions = [_predicted(grid, n) for n, grid in enumerate([*references, lost])]
    return _write(root / "p", predictions), _write(root / "r", references, per_shard=3)


def _job(folders: tuple[str, str], weights: str, **changes: Any) -> ScoringJob:
    return ScoringJob(*folders, METRICS, weights, allow_few=True, registry=UNPUBLISHED, **changes)


def _everything(board: Scoreboard) -> list[Any]:
    return [board.rows(), board.samples(), board.not_compared, board.weights, table(board)]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_of_two_cores")
def test_two_workers_give_what_one_gives_to_the_last_bit(
    folders: tuple[str, str], weights: str, tmp_path: Path
) -> None:
    serial = score_folder(_job(folders, weights))
    distributed = score_folder(_job(folders, weights, features=tmp_path), workers=2)
    assert _everything(distributed) == _everything(serial)
    assert serial.grids == len(KEYS)
    assert "holds no reference of this key" in serial.not_compared["lost"]
    assert all(serial.score(MODEL, metric).value is not None for metric in serial.metrics)
    assert list(tmp_path.rglob("*.npy")), "the workers keep their features where they were told to"
    with pytest.raises(UserError, match="there is no metric 'nothing'"):
        score_folder(dataclasses.replace(_job(folders, weights), metrics=("nothing",)), workers=2)


def test_a_second_model_costs_its_own_pass_alone(
    folders: tuple[str, str], weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    original = torch.jit.load

    def counting(*arguments: Any, **options: Any) -> Any:
        network = original(*arguments, **options).eval()  # type: ignore[no-untyped-call]

        def call(images: torch.Tensor, **flags: Any) -> Any:
            passes.append(len(images))
            return network(images, **flags)

        call.eval = lambda: call  # type: ignore[attr-defined]
        return call

    monkeypatch.setattr(torch.jit, "load", counting)
    job = dataclasses.replace(_job(folders, weights, features=tmp_path / "features"), metrics=("fid",))
    first = score_folder(job)
    frames = 2 * 3
    assert sum(passes) == (1 + len(METHODS)) * len(KEYS) * frames  # reference, model and baselines
    passes.clear()
    assert _everything(score_folder(job)) == _everything(first)
    assert not passes, "the same again costs nothing"
    other = [
        _predicted(make_grid(key, 3, 4, 32, 40, view_step_px=n + 1, time_step_px=n + 2), 100 + n)
        for n, key in enumerate(KEYS)
    ]
    second = score_folder(dataclasses.replace(job, predictions=_write(tmp_path / "other", other)))
    assert sum(passes) == len(KEYS) * frames
    assert second.score(MODEL, second.metrics[0]) != first.score(MODEL, first.metrics[0])


def test_features_are_of_these_pixels_these_weights_and_this_preparation(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = make_grid(height=32, width=40).frames[0]

    def made(folder: str, frames: np.ndarray) -> int:
        networks = Networks(WeightsStore(folder, UNPUBLISHED), cache=FeatureCache(tmp_path / "features"))
        networks.inception(frames)
        return networks.cache.made

    assert [made(weights, frames), made(weights, frames)] == [1, 0]
    assert made(weights, 255 - frames) == 1
    assert made(weights, frames.reshape(2, 2 * 32, 40, 3)) == 1  # the same bytes in another shape
    other = tmp_path / "weights" / "inception"
    other.mkdir(parents=True)
    source = Path(weights) / "inception" / "inception-2015-12-05.pt"
    network = torch.jit.load(str(source))  # type: ignore[no-untyped-call]
    network.convolution.bias.data += 1
    network.save(str(other / source.name))
    assert made(str(tmp_path / "weights"), frames) == 1
    monkeypatch.setattr("fourreal.evaluation.networks.feature_cache.PREPARATION_VERSION", 2)
    assert made(weights, frames) == 1


def test_a_damaged_file_of_the_cache_is_made_again(weights: str, tmp_path: Path) -> None:
    frames = make_grid(height=32, width=40).frames[0]
    answers = []
    for _ in range(3):
        networks = Networks(WeightsStore(weights, UNPUBLISHED), cache=FeatureCache(tmp_path))
        answers.append(networks.inception(frames))
        (file,) = tmp_path.rglob("*.npy")
        file.write_bytes(file.read_bytes()[:-9])
        assert networks.cache.made == 1
    np.testing.assert_array_equal(answers[0], answers[2])


def test_every_fault_has_its_sentence_and_the_rest_is_scored(folders: tuple[str, str], tmp_path: Path) -> None:
    """At once: shapes that differ, a key without a reference, damaged weights, cameras in one place, too few grids."""
    good, wide, cameras = (make_grid(key, 3, 4, 32, 40) for key in ("good", "wide", "cameras"))
    still = np.repeat(np.eye(4)[None], 3, axis=0)
    cameras = dataclasses.replace(
        cameras, intrinsics=np.repeat(np.diag([40.0, 40, 1])[None], 3, 0), world_to_camera=still
    )
    predictions = [_predicted(grid, n) for n, grid in enumerate((good, wide, cameras, make_grid("lost", 3, 4, 32, 40)))]
    references = [good, make_grid("wide", 3, 4, 48, 40), cameras]
    damaged = tmp_path / "weights"
    for name in ("inception", "lpips"):
        (damaged / name).mkdir(parents=True)
        for file in UNPUBLISHED[name].files:
            (damaged / name / file.name).write_bytes(b"no network")
    job = ScoringJob(
        _write(tmp_path / "p", predictions),
        _write(tmp_path / "r", references),
        ("psnr", "tsed", "fid", "lpips", "clip_score", "fvd_time"),
        str(damaged),
        registry=UNPUBLISHED,
    )
    board = score_folder(job)
    scores = {metric.name: board.score(MODEL, metric) for metric in board.metrics}
    assert scores["psnr"].samples == 2
    assert "32x40, the reference 48x40" in board.not_compared["wide"]
    assert "holds no reference of this key" in board.not_compared["lost"]
    assert "the cameras of views 0 and 1 stand in one place" in scores["tsed"].reason
    assert "cannot be loaded" in scores["fid"].reason
    assert "cannot be loaded" in scores["lpips"].reason
    assert "`fourreal weights fetch clip`" in scores["clip_score"].reason
    assert "at least 9 frames" in scores["fvd_time"].reason
    assert all("\n" not in score.reason for score in scores.values())
    with pytest.raises(UserError, match="none of 1 grids can be compared; of 'lost'"):
        score_folder(job, only=["lost"])


def test_a_network_that_fails_on_its_frames_leaves_the_others_alone(
    folders: tuple[str, str], weights: str, tmp_path: Path
) -> None:
    """A TorchScript file that loads and is some other network."""
    root = tmp_path / "inception"
    root.mkdir()
    torch.jit.script(torch.nn.PixelShuffle(7)).save(str(root / "inception-2015-12-05.pt"))
    board = score_folder(dataclasses.replace(_job(folders, str(tmp_path)), metrics=("fid", "psnr")))
    fid, psnr = (board.score(MODEL, metric) for metric in board.metrics)
    assert "the network 'inception' fails on frames (6, 32, 40, 3)" in fid.reason
    assert psnr.samples == len(KEYS)


@pytest.mark.ray
@pytest.mark.slow
def test_more_workers_than_ray_has_room_for_are_not_waited_for(
    folders: tuple[str, str], weights: str, ray_of_two_cores: None
) -> None:
    board = score_folder(dataclasses.replace(_job(folders, weights), metrics=("psnr",)), workers=3)
    assert board.score(MODEL, board.metrics[0]).samples == len(KEYS)
