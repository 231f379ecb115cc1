"""CLIP metrics over a small random CLIP in the hub's format, beside transformers called directly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic_grids import make_grid
from tiny_weights import networks, write_clip

from fourreal.evaluation.metrics import CLIPConsistency, CLIPScore, Comparison
from fourreal.evaluation.networks import Networks

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_clip(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Networks:
    return networks(folder)


def _comparison(caption: str = "a square moves", **meta: object) -> Comparison:
    frames = make_grid("k", 3, 4, 32, 48).frames
    made = np.ones((3, 4), bool)
    made[0, :] = made[:, 0] = False
    return Comparison("k", frames[made], grid=frames, made=made, caption=caption)


def _directly(folder: Path, frames: np.ndarray, caption: str) -> tuple[np.ndarray, np.ndarray]:
    """Directions of 32x48 frames and of the caption, by transformers' own calls."""
    from transformers import AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(folder / "clip").eval()
    tokens = AutoTokenizer.from_pretrained(folder / "clip")([caption], return_tensors="pt")
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.from_numpy((frames[:, :, 8:40] / 255 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        images = model.get_image_features(pixel_values=pixels).pooler_output
        texts = model.get_text_features(**tokens).pooler_output
    return tuple((x / x.norm(dim=-1, keepdim=True)).double().numpy() for x in (images, texts))  # type: ignore[return-value]


def test_the_score_is_the_cosine_with_the_caption_over_generated_frames(folder: Path, tiny: Networks) -> None:
    sample = _comparison()
    metric = CLIPScore(tiny)
    score = metric.compute(sample)
    images, text = _directly(folder, sample.prediction, "a square moves")
    assert score.value == pytest.approx(100 * np.maximum(images @ text[0], 0).mean(), abs=1e-3)
    assert score.frames == 6
    assert "model.safetensors" in metric.weights
    assert metric.compute(_comparison("a fox runs")).value != score.value
    assert metric.compute(_comparison("")).reason == "the grid has no caption"
    longer = "a square moves " * 20  # far more tokens than the model's context
    assert metric.compute(_comparison(longer)).value is not None


@pytest.mark.parametrize(("axis", "pairs"), [("time", 6), ("view", 6)])
def test_consistency_is_the_cosine_of_neighbours(folder: Path, tiny: Networks, axis: str, pairs: int) -> None:
    sample = _comparison()
    assert sample.grid is not None
    score = CLIPConsistency(tiny, axis).compute(sample)  # type: ignore[arg-type]
    images = _directly(folder, sample.grid.reshape(-1, 32, 48, 3), "a")[0].reshape(3, 4, -1)
    if axis == "time":
        cosines = [images[v, t] @ images[v, t + 1] for v in (1, 2) for t in range(3)]
    else:
        cosines = [images[v, t] @ images[v + 1, t] for v in (0, 1) for t in (1, 2, 3)]
    assert score.value == pytest.approx(100 * np.mean(cosines), abs=1e-3)
    assert score.frames == pairs
    still = Comparison("k", sample.prediction, grid=np.repeat(sample.grid[:1, :1], 3, axis=0).repeat(3, axis=1))
    assert CLIPConsistency(tiny, axis).compute(still).value == pytest.approx(100.0, abs=1e-3)  # type: ignore[arg-type]


def test_frames_are_prepared_as_transformers_prepares_them(tiny: Networks) -> None:
    """Resized by Pillow on the shorter side, the middle cut out: against Pillow on the whole frame."""
    from fourreal.evaluation.networks.frames import middle_of_frames

    frame = make_grid(height=50, width=90).frames[0, 0]
    out = middle_of_frames(frame[None], 32, (32, 32))
    whole = np.asarray(Image.fromarray(frame).resize((57, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(out[0], whole[:, 12:44])
