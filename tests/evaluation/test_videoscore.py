"""VideoScore over a small random regressor in the published layout, beside transformers called by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic_grids import make_grid
from tiny_weights import networks, write_videoscore

from fourreal.evaluation.metrics import Comparison, VideoScore
from fourreal.evaluation.metrics.videoscore import DIMENSIONS
from fourreal.evaluation.networks import Networks

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_videoscore(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Networks:
    return networks(folder)


def _comparison(caption: str = "a square moves") -> Comparison:
    frames = make_grid("k", 2, 3, 32, 48).frames
    made = np.ones((2, 3), bool)
    made[0, :] = made[:, 0] = False
    return Comparison("k", frames[made], grid=frames, made=made, caption=caption)


def _directly(folder: Path, video: np.ndarray, caption: str) -> np.ndarray:
    """The same weights in transformers' own Idefics2, with the prompt assembled by hand and the head applied after."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, Idefics2Config, Idefics2Model, Idefics2Processor
    from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

    from fourreal.evaluation.networks.videoscore import PROMPT

    files = sorted((folder / "videoscore").glob("model-*.safetensors"))
    assert len(files) > 1, "the weights should be split, as the published ones are"
    state = {name: tensor for file in files for name, tensor in load_file(file).items()}
    model = Idefics2Model(Idefics2Config.from_pretrained(folder / "videoscore")).eval()
    model.load_state_dict({name.removeprefix("model."): t for name, t in state.items() if name.startswith("model.")})
    processor = Idefics2Processor(
        Idefics2ImageProcessorPil.from_pretrained(folder / "videoscore"),
        AutoTokenizer.from_pretrained(folder / "videoscore"),
        image_seq_len=3,
    )
    text = PROMPT.replace("{prompt}", caption) + "<image> " * len(video)
    inputs = processor(text=text, images=[Image.fromarray(frame) for frame in video], return_tensors="pt")
    with torch.no_grad():
        last = model(**inputs).last_hidden_state[0, -1]
    return (state["score.weight"] @ last + state["score.bias"]).numpy()


def test_each_dimension_is_the_mean_over_the_videos_with_a_generated_frame(folder: Path, tiny: Networks) -> None:
    sample = _comparison()
    assert sample.grid is not None
    fixed = _directly(folder, sample.grid[1], "a square moves")
    frozen = np.mean([_directly(folder, sample.grid[:, t], "a square moves") for t in (1, 2)], axis=0)
    for index, dimension in enumerate(DIMENSIONS):
        for videos, expected in (("fixed_view", fixed), ("freeze_time", frozen)):
            metric = VideoScore(tiny, dimension, videos)  # type: ignore[arg-type]
            score = metric.compute(sample)
            assert score.value == pytest.approx(float(expected[index]), abs=1e-5), metric.name
            assert score.frames == 2
    assert len(set(np.round([*fixed, *frozen], 5))) == 10, "scores that differ, or the test could not fail"
    assert len([name for name in metric.weights if name.startswith("model-")]) > 1
    assert metric.compute(_comparison("a fox runs")).value != metric.compute(sample).value
    assert metric.compute(_comparison(" ")).reason == "the grid has no caption"


def test_all_dimensions_cost_one_pass_for_each_video(folder: Path) -> None:
    fresh = networks(folder)
    for dimension in DIMENSIONS:
        VideoScore(fresh, dimension, "freeze_time").compute(_comparison())
    assert fresh.cache.made == 2


def test_long_videos_are_thinned_evenly() -> None:
    from fourreal.evaluation.networks.videoscore import thinned

    video = np.arange(40, dtype=np.uint8)[:, None, None, None]
    assert thinned(video)[:, 0, 0, 0].tolist() == [int(i * 2.5) for i in range(16)]
    assert len(thinned(video[:16])) == 16


def test_a_split_file_that_is_missing_or_an_index_that_is_damaged_is_said(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder / "videoscore", tmp_path / "videoscore")
    (tmp_path / "videoscore" / "sha256.lock.json").unlink(missing_ok=True)
    part = next((tmp_path / "videoscore").glob("model-*.safetensors"))
    part.unlink()
    assert f"{part.name} of the weights 'videoscore' is not in" in _reason(tmp_path)
    (tmp_path / "videoscore" / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../other"}}')
    assert "model.safetensors.index.json" in _reason(tmp_path)
    assert "damaged" in _reason(tmp_path)


def test_weights_without_the_head_are_refused_not_drawn_at_random(folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folder / "videoscore", tmp_path / "videoscore")
    (tmp_path / "videoscore" / "sha256.lock.json").unlink(missing_ok=True)
    index = tmp_path / "videoscore" / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    part = tmp_path / "videoscore" / document["weight_map"].pop("score.weight")
    save_file({k: v for k, v in load_file(part).items() if k != "score.weight"}, part, {"format": "pt"})
    index.write_text(json.dumps(document))
    assert "cannot be loaded: the files hold no score.weight" in _reason(tmp_path)


def _reason(folder: Path) -> str:
    return VideoScore(networks(folder), "visual", "fixed_view").compute(_comparison()).reason
