"""The upsampler: bicubic at its start, better than that once it has learnt; its export and its bad input."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fourreal.training.model import (
    GridModel,
    Guidance,
    Pipeline,
    PixelBackbone,
    PixelConfig,
    Sampling,
    Upsampler,
    UpsamplerConfig,
    load,
    load_model,
    save_pretrained,
    upsampler_loss,
)
from fourreal.training.model.upsampler import shrink

CONFIG = UpsamplerConfig.of_size("nano", (6, 8), (12, 16), frames=2, hidden_dim=48, depth=2, heads=2, patch_size=2)


def rectangles(count: int, seed: int) -> Tensor:
    """[count, 1, 3, 12, 16] in [-1, 1]: two white rectangles with sharp edges on a dark ground."""
    rng = np.random.default_rng(seed)
    frames = np.full((count, 1, 3, 12, 16), -0.8, np.float32)
    for frame in frames:
        for _ in range(2):
            y, x = rng.integers(0, 8), rng.integers(0, 11)
            frame[0, :, y : y + rng.integers(2, 7), x : x + rng.integers(2, 8)] = 0.8
    return torch.from_numpy(frames)


def as_pixels(frames: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return ((frames + 1) * 127.5).round().clamp(0, 255).byte().movedim(-3, -1).numpy()


def psnr(made: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    return float(10 * np.log10(255**2 / np.square(made.astype(float) - truth).mean()))


@pytest.mark.parametrize("sampler", ["euler", "heun", "unipc"])
def test_at_its_start_it_is_the_bicubic_resize(sampler: Any) -> None:
    model = Upsampler(CONFIG).eval()
    low = as_pixels(shrink(rectangles(5, 0), CONFIG).transpose(0, 1))  # one view of five times: three sequences
    made = model.upsample(low, Sampling(3, sampler))
    assert (made.shape, made.dtype) == ((1, 5, 12, 16, 3), np.uint8)
    resized = model.resize(torch.from_numpy(low).movedim(-1, -3) / 127.5 - 1)
    assert np.abs(made.astype(int) - as_pixels(resized)).max() <= 1


def test_a_trained_one_beats_bicubic_on_frames_it_has_not_seen() -> None:
    torch.manual_seed(0)
    model = Upsampler(dataclasses.replace(CONFIG, most_augmentation=0.1))
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=250)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for step in range(250):
        loss = upsampler_loss(model, rectangles(16, step), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert np.mean(losses[-30:]) < 0.3 * np.mean(losses[:30])
    held_out = rectangles(40, 100_000)
    truth, low = as_pixels(held_out), as_pixels(shrink(held_out, CONFIG))
    bicubic = psnr(as_pixels(model.resize(shrink(held_out, CONFIG))), truth)
    # One step gives the mean of what is possible. More steps give one possibility, with up to twice its squared error:
    # seconds of training do not buy a clear win there.
    assert psnr(model.eval().upsample(low, Sampling(1)), truth) > bicubic + 0.7


def test_seed_and_augmentation_decide_and_batching_does_not() -> None:
    torch.manual_seed(0)
    model = Upsampler(CONFIG).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    low = as_pixels(shrink(rectangles(6, 0), CONFIG)).reshape(2, 3, 6, 8, 3)
    made = model.upsample(low, seed=3)
    np.testing.assert_array_equal(made, model.upsample(low, seed=3))
    np.testing.assert_array_equal(made[:1], model.upsample(low[:1], seed=3))
    assert (made != model.upsample(low, seed=4)).any()
    assert (made != model.upsample(low, seed=3, augmentation=0.3)).any()
    noisy, frames, time = torch.zeros(1, 1, 3, 12, 16), torch.zeros(1, 1, 3, 6, 8), torch.ones(1)
    told = [model(noisy, frames, torch.tensor([level]), time) for level in (0.0, 0.3)]
    assert not torch.allclose(*told)  # the network knows how far to trust what it is given


def test_export_and_use_behind_a_grid_model(tmp_path: Path) -> None:
    model = Upsampler(CONFIG).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_pretrained(model, tmp_path / "upsampler", {"steps": 3})
    loaded = load_model(tmp_path / "upsampler", "upsampler")
    assert loaded.config == CONFIG
    low = as_pixels(shrink(rectangles(2, 0), CONFIG))
    np.testing.assert_array_equal(loaded.upsample(low), model.upsample(low))
    assert "| low_width | 8 |" in (tmp_path / "upsampler" / "README.md").read_text()

    grid = GridModel(
        PixelBackbone(PixelConfig(height=6, width=8, patch_size=2, hidden_dim=32, depth=1, heads=2)), "soft"
    )
    save_pretrained(grid, tmp_path / "grid")
    pipe = load(tmp_path / "grid", upsampler=tmp_path / "upsampler")
    made = pipe(fixed_view=low[:, 0], views=2, steps=1)
    assert pipe.upsample(made.frames, Sampling(2)).shape == (2, 2, 12, 16, 3)
    with pytest.raises(ValueError, match="this pipeline has no upsampler"):
        Pipeline(grid).upsample(made.frames)
    with pytest.raises(ValueError, match="holds an upsampler model, a grid model is needed"):
        load(tmp_path / "upsampler")
    with pytest.raises(ValueError, match="holds a grid model, an upsampler model is needed"):
        load(tmp_path / "grid", upsampler=tmp_path / "grid")


def test_bad_input_is_one_sentence_that_names_both_sides() -> None:
    model = Upsampler(CONFIG)
    low = np.zeros((1, 1, 6, 8, 3), np.uint8)
    with pytest.raises(ValueError, match=r"frames are uint8 \(1, 1, 8, 8, 3\), .* \[V, T, 6, 8, 3\]"):
        model.upsample(np.zeros((1, 1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"augmentation 0.9 is outside .* 0 to 0.5"):
        model.upsample(low, augmentation=0.9)
    with pytest.raises(ValueError, match="has no guidance"):
        model.upsample(low, Sampling(guidance=Guidance(frames=2)))
    with pytest.raises(ValueError, match="6x9 pixels cannot be upsampled to 12x16"):
        dataclasses.replace(CONFIG, low_width=9)
    with pytest.raises(ValueError, match="12x16 pixels cannot be upsampled to 12x16"):
        dataclasses.replace(CONFIG, low_width=16, low_height=12)
    with pytest.raises(ValueError, match="an upsampler is, is given none; leave them out"):
        UpsamplerConfig.of_size("nano", (6, 8), (12, 16), patch_size=4, references=True)
    with pytest.raises(ValueError, match="reads 4 condition channels, not clean and 0"):
        UpsamplerConfig(PixelConfig(height=12, width=16), 6, 8)
    with pytest.raises(ValueError, match=r"fields \['other'\]"):
        UpsamplerConfig.from_dict({**CONFIG.to_dict(), "other": 1})
