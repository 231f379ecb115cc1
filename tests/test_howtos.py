"""The README's how-tos, typed as they stand there, in their order: each line ends well and leaves what the text says.

Smaller only by flags that are added behind a line's own, of which the last counts; and training is by one worker in
plain torch, because tests/training/run/ has two of DeepSpeed's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fourreal.datagen import sample_videos
from fourreal.platform import cli
from fourreal.platform.runtime import ray_session
from fourreal.platform.shards import list_shards, read_grids
from fourreal.platform.storage import Storage
from fourreal.training.model import load_model
from tests.conftest import ROOT
from tests.datagen.glb import moving_cube
from tests.pages import blocks, commands

TYPED = ("My own assets", "My own videos")

RUN_BY = {
    "fourreal cluster start": "tests/platform/test_runtime.py::test_a_job_runs_by_ray_job_submit",
    "fourreal cluster stop": "tests/platform/test_runtime.py::test_a_job_runs_by_ray_job_submit",
    "fourreal submit": "tests/platform/test_runtime.py::_detach_attach_and_stop",
    "fourreal status": "tests/platform/test_status.py::test_a_job_on_s3_is_told_alike",
    "fourreal render": "tests/test_howtos.py::test_my_own_assets",
    "ray job submit": "tests/platform/test_runtime.py::test_a_job_runs_by_ray_job_submit",
}
"""Lines of "My own cluster and S3", which want a cluster and a bucket, and what runs the like of them."""

SMALLER = {
    "render": "--views 5 --times 5 --height 32 --width 48 --samples 1 --workers 1",
    "synthesize": "--views 5 --times 5 --height 32 --width 48 --workers 1",
    "train": "--steps 2 --batch-size 1 --workers 1 --engine.kind torch --samples.every 0",
    "generate": "--steps 1 --workers 1",
    "reconstruct": "--fit.steps 8 --fit.initial-points 200 --workers 1",
    "evaluate": "--metrics psnr",
}
FEWER = {"procedural:8": "procedural:2"}
"""Assets that only the number makes dear."""


def how_to(title: str) -> list[list[str]]:
    """Its commands."""
    text = (ROOT / "README.md").read_text().split("\n## How to\n")[1].split("\n## ")[0]
    section = re.split(r"^\*\*", text.split(f"**{title}.**")[1], flags=re.M)[0]
    return [words for block in blocks(section) for words in commands(block)]


def type_(title: str) -> None:
    """Every line of it, one after the other."""
    for program, command, *rest in how_to(title):
        assert program == "fourreal"
        words = [command, *(FEWER.get(word, word) for word in rest), *SMALLER.get(command, "").split()]
        assert cli.main(words) == 0, " ".join(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where somebody's models and videos lie, with a Ray that starts there: workers look for paths where it did."""
    place = tmp_path_factory.mktemp("how-to")
    (place / "my_models").mkdir()
    for name in ("one", "two"):
        moving_cube(place / "my_models" / f"{name}.glb")
    (place / "my_models" / "broken.glb").write_bytes(b"no glTF")
    assert sample_videos.main(["--out", str(place / "my_videos"), "--count", "2"]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with ray_session(2):
            yield place


@pytest.fixture(scope="module")
def assets_typed(folder: Path) -> Path:
    """What the first how-to leaves in outputs/."""
    type_(TYPED[0])
    return folder / "outputs"


def shapes(shards: Path) -> list[tuple[int, ...]]:
    """Of the frames of each grid."""
    return [grid.decode().frames.shape for grid in read_grids(Storage(str(shards)))]


pytestmark = [pytest.mark.blender, pytest.mark.ray, pytest.mark.slow]


def test_my_own_assets(assets_typed: Path) -> None:
    mine = assets_typed / "mine"
    assert shapes(mine) == [(5, 5, 32, 48, 3)] * 2
    assert (mine / "contact-sheet.png").stat().st_size > 1000
    (refused,) = (json.loads(path.read_text()) for path in (mine / "quarantine").glob("*.json"))
    assert refused["reason"] == "bad_header"
    assert shapes(assets_typed / "first") == [(5, 5, 32, 48, 3)] * 2
    keys = [key for record in list_shards(Storage(str(mine))) for key in record.keys]
    page = (assets_typed / "mine.html").read_text()
    assert all(key in page for key in keys)
    assert (assets_typed / "scenes/scenes" / keys[0] / "sequence.safetensors").stat().st_size > 1000
    assert 'id="splats-0"' not in page
    assert 'id="splats-0"' in (assets_typed / "scenes.html").read_text()


def test_my_own_videos(assets_typed: Path) -> None:
    type_(TYPED[1])
    assert len(shapes(assets_typed / "clips")) >= 2
    assert load_model(assets_typed / "training/model", "grid", architecture="soft")
    assert shapes(assets_typed / "generated") == shapes(assets_typed / "unseen") == [(5, 5, 32, 48, 3)] * 2
    scores = json.loads((assets_typed / "generated/evaluation/metrics.json").read_text())
    assert (scores["grids"], scores["not_compared"]) == (2, {})
    assert {"model", "average"} <= {score["method"] for score in scores["scores"]}


def test_every_line_of_the_other_how_to_is_run_somewhere() -> None:
    rest = [" ".join(words) for words in how_to("My own cluster and S3")]
    assert [line for line in rest if not line.startswith(tuple(RUN_BY))] == []
    for place in RUN_BY.values():
        path, name = place.split("::")
        assert f"def {name}(" in (ROOT / path).read_text()
