"""What `fourreal train` refuses, in one sentence, before any worker starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faulty_s3 import FaultyS3

from fourreal.platform.storage import Storage
from fourreal.training.model import GridModel, PixelBackbone, PixelConfig, save_pretrained
from fourreal.training.train import main

MakeFolder = Callable[..., str]


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main(list(flags)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_bad_input_is_one_sentence_before_any_worker_starts(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = make_folder("good", shape=(3, 4, 16, 24))
    out = str(tmp_path / "out")
    common = ("--out", out, "--views", "3", "--times", "4")
    assert "there is no grid in" in refused(capsys, *common, "--data", str(tmp_path / "nothing"))
    assert "fewer than --views 8" in refused(capsys, "--data", good, "--out", out)
    assert "not a multiple of the patch size 8" in refused(capsys, *common, "--data", good, "--model.height", "30")
    assert "choose one of nano" in refused(capsys, *common, "--data", good, "--model.size", "giant")
    assert "needs --start-from RUN_OR_FOLDER" in refused(capsys, *common, "--data", good, "--stage", "grid")
    missing = refused(capsys, *common, "--data", good, "--stage", "grid", "--start-from", str(tmp_path / "no"))
    assert "is no exported model" in missing
    assert "give one for each" in refused(capsys, *common, "--data", good, "--mixture.weights", "1", "2")
    assert "together they may be 1" in refused(capsys, *common, "--data", good, "--mixture.both-ends", "0.9")
    assert "on one worker, not on 2" in refused(capsys, *common, "--data", good, "--engine.kind", "torch")
    grid = ("--data", good, "--out", out, "--stage", "grid")
    assert "nothing to synchronize" in refused(capsys, *grid, "--views", "1", "--times", "4")
    nothing_new = refused(capsys, *grid, "--model.architecture", "fused", "--model.train", "sync-only")
    assert "the fused architecture adds no parameters" in nothing_new
    assert "give at least 1" in refused(capsys, *common, "--data", good, "--steps", "0")
    for share in ("0", "1.5"):
        assert "above 0 and at most 1" in refused(capsys, *common, "--data", good, "--gpu-share", share)
    assert not Path(out).exists()


def test_a_base_that_does_not_fit_names_both_sides(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, config = make_folder("good"), PixelConfig(height=16, width=24, patch_size=8)
    save_pretrained(GridModel(PixelBackbone(config), "soft"), tmp_path / "grid")
    save_pretrained(PixelBackbone(config), tmp_path / "base")
    shape = ("--data", folder, "--out", str(tmp_path / "out"), "--views", "3", "--times", "4")
    grid, base = ("--start-from", str(tmp_path / "grid")), ("--start-from", str(tmp_path / "base"))
    assert "holds a grid model where a base model is needed" in refused(capsys, *shape, *grid)
    assert "where an upsampler model is needed" in refused(capsys, *shape, *base, "--stage", "upsampler")
    flags = (*shape, "--stage", "grid")
    message = refused(capsys, *flags, *base, "--model.patch-size", "4")
    assert "has patch_size 8, this stage is asked for 4: leave --model.patch-size out" in message
    assert "leave --model.size out" in refused(capsys, *flags, *base, "--model.size", "small")
    message = refused(capsys, *flags, *grid, "--model.architecture", "hard")
    assert "is soft, hard is asked for: leave --model.architecture out" in message
    assert "no 4 times enlarged ones" in refused(capsys, *shape, "--stage", "upsampler", "--model.height", "18")


def test_expired_credentials_are_one_sentence(
    make_folder: MakeFolder, s3_bucket: str, s3_outage: FaultyS3, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(make_folder("good", shape=(3, 4, 16, 24)))
    for path in folder.iterdir():
        Storage(f"{s3_bucket}/data").write_file(path.name, path)
    s3_outage.expired = True
    for data, out in ((f"{s3_bucket}/data", str(folder / "out")), (str(folder), f"{s3_bucket}/out")):
        said = refused(capsys, "--data", data, "--out", out, "--views", "3", "--times", "4")
        assert said.endswith("the S3 credentials have expired: renew them; after that the same command goes on")
