"""One call from videos to a grid, its bad input, and its export."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fourreal.training.model import (
    Conditions,
    GridModel,
    Guidance,
    Pipeline,
    PixelBackbone,
    PixelConfig,
    Sampling,
    Text,
    Windows,
    border_given,
    generate_grids,
    load,
    load_model,
    save_pretrained,
)
from fourreal.training.model.windows import Frames, Mask, fill_in_windows, seed_at

CONFIG = PixelConfig(height=8, width=12, patch_size=4, hidden_dim=32, depth=1, heads=2)
VIEWS, TIMES = 3, 4
SHAPE = (8, 12, 3)


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    torch.manual_seed(0)
    model = GridModel(PixelBackbone(CONFIG), "soft")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return Pipeline(model.eval())


@pytest.fixture
def truth() -> Frames:
    return additive_grid(VIEWS, TIMES)


def additive_grid(views: int, times: int, seed: int = 0) -> Frames:
    """x[v, t] = a[v] + b[t]: any window's frames follow from its first view and its first time."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 128, (views, 1, *SHAPE)) + rng.integers(0, 128, (1, times, *SHAPE))).astype(np.uint8)


def test_both_videos_make_the_grid_that_generate_grids_makes(pipe: Pipeline, truth: Frames) -> None:
    made = pipe(fixed_view=truth[0], freeze_time=truth[:, 0], steps=3, seed=5)
    assert (made.frames.shape, made.frames.dtype) == ((VIEWS, TIMES, *SHAPE), np.uint8)
    np.testing.assert_array_equal(made.given, border_given(VIEWS, TIMES).numpy())
    np.testing.assert_array_equal(made.frames[made.given], truth[made.given])
    clean = torch.from_numpy(truth).permute(0, 1, 4, 2, 3)[None] / 127.5 - 1
    plain = generate_grids(pipe.model, clean, torch.from_numpy(made.given)[None], 3, [5])[0]
    expected = ((plain + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).numpy()
    np.testing.assert_array_equal(made.frames[~made.given], expected[~made.given])
    assert made.record == {
        "steps": 3,
        "sampler": "euler",
        "shift": 1.0,
        "guidance": {"frames": 1.0, "text": 1.0},
        "seed": 5,
    }


def test_either_video_alone_and_any_frames(pipe: Pipeline, truth: Frames) -> None:
    fixed = pipe(fixed_view=truth[0], views=VIEWS, steps=1)
    assert fixed.given.sum() == TIMES
    np.testing.assert_array_equal(fixed.frames[0], truth[0])
    freeze = pipe(freeze_time=truth[:, 0], times=TIMES, steps=1)
    assert freeze.given.sum() == VIEWS
    np.testing.assert_array_equal(freeze.frames[:, 0], truth[:, 0])
    given = np.zeros((VIEWS, TIMES), bool)
    given[1, 2] = given[2, 0] = True
    some = pipe.fill(Conditions(truth, given), Sampling(1))
    np.testing.assert_array_equal(some.frames[given], truth[given])
    hidden = np.where(given[..., None, None, None], truth, 255 - truth)
    np.testing.assert_array_equal(some.frames, pipe.fill(Conditions(hidden, given), Sampling(1)).frames)


def test_options_reach_the_sampler(pipe: Pipeline, truth: Frames) -> None:
    def made(**options: Any) -> Frames:
        return pipe(fixed_view=truth[0], freeze_time=truth[:, 0], **{"steps": 3, **options}).frames

    plain = made()
    np.testing.assert_array_equal(made(guidance=Guidance(1, 1)), plain)
    for options in ({"sampler": "heun"}, {"sampler": "unipc"}, {"shift": 4.0}, {"seed": 1}, {"steps": 4}):
        assert (made(**options) != plain).any(), options
    assert (made(guidance=Guidance(frames=3)) != plain).any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "no condition was given"),
        ({"fixed_view": (4, 8, 12, 3)}, "freeze_time is missing and views is None"),
        ({"fixed_view": (4, 8, 12, 3), "views": 3, "times": 5}, "fixed_view has 4 frames and times is 5"),
        ({"fixed_view": (4, 8, 12), "views": 3}, r"fixed_view is uint8 \(4, 8, 12\); give uint8 \[times, H, W, 3\]"),
        ({"fixed_view": (4, 8, 12, 3), "freeze_time": (3, 8, 8, 3)}, "frames of 8x12 pixels and freeze_time of 8x8"),
        ({"fixed_view": (4, 8, 8, 3), "views": 3}, "frames are 8x8 pixels, the model's are 8x12"),
        ({"fixed_view": (4, 8, 12, 3), "views": 1}, "all 4 frames are given"),
        ({"fixed_view": (4, 8, 12, 3), "views": 3, "steps": 0}, "0 sampling steps"),
        ({"fixed_view": (4, 8, 12, 3), "views": 3, "prompt": "a fox"}, "no text encoder"),
        ({"fixed_view": (4, 8, 12, 3), "views": 3, "prompt": Text(torch.zeros(1, 2, 3))}, "reads no text"),
        ({"fixed_view": (4, 8, 12, 3), "views": 3, "prompt": Text(torch.zeros(2, 2, 3))}, "one grid reads"),
        ({"fixed_view": (4, 8, 12, 3), "views": 3, "guidance": (1.0, 3.0)}, "guidance of text at 3.0 needs"),
    ],
)
def test_bad_input_is_one_sentence_that_names_both_sides(
    pipe: Pipeline, options: dict[str, Any], sentence: str
) -> None:
    values = dict(options)
    for name in ("fixed_view", "freeze_time"):
        if name in values:
            values[name] = np.zeros(values[name], np.uint8)
    if "guidance" in values:
        values["guidance"] = Guidance(*values["guidance"])
    with pytest.raises(ValueError, match=sentence) as caught:
        pipe(**values)
    assert "\n" not in str(caught.value)


def test_more_bad_input(pipe: Pipeline, truth: Frames) -> None:
    with pytest.raises(ValueError, match="fixed_view is float64"):
        pipe(fixed_view=truth[0].astype(float), views=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"differ by .* of 255 grey levels"):
        pipe(fixed_view=truth[0], freeze_time=255 - truth[:, 0])
    with pytest.raises(ValueError, match=r"given is bool \(2, 2\) for frames"):
        Conditions(truth, np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="cannot be made from nothing"):
        pipe.fill(Conditions(truth, np.zeros((VIEWS, TIMES), bool)), Sampling(1))
    with pytest.raises(ValueError, match="needs given frames"):
        pipe.fill(Conditions(truth, np.zeros((VIEWS, TIMES), bool)), Sampling(1, guidance=Guidance(frames=2)))
    broken = Pipeline(GridModel(PixelBackbone(CONFIG), "soft"))
    with torch.no_grad():
        next(broken.model.parameters()).fill_(math.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        broken(fixed_view=truth[0], views=2)


def test_a_string_goes_through_the_text_encoder(pipe: Pipeline, truth: Frames) -> None:
    seen: list[str] = []

    def encoder(captions: list[str]) -> Text:
        seen.extend(captions)
        return Text(torch.zeros(len(captions), 2, 3))

    with pytest.raises(ValueError, match="reads no text"):
        Pipeline(pipe.model, text_encoder=encoder)(fixed_view=truth[0], views=2, prompt="a fox", negative_prompt="")
    assert seen == ["a fox", ""]


def test_export_and_load_in_one_call(pipe: Pipeline, truth: Frames, tmp_path: Path) -> None:
    training = {"steps": 7, "settings": {"lr": 1e-4}, "data_licences": ["CC-BY-4.0", "CC0-1.0"]}
    pipe.save_pretrained(tmp_path, training)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded = load(tmp_path)
    arguments: dict[str, Any] = {"fixed_view": truth[0], "freeze_time": truth[:, 0], "steps": 2}
    np.testing.assert_array_equal(loaded(**arguments).frames, pipe(**arguments).frames)
    assert isinstance(load_model(tmp_path), GridModel)
    card = (tmp_path / "README.md").read_text()
    parameters = sum(parameter.numel() for parameter in pipe.model.parameters())
    for fact in ("| architecture | soft |", f"{parameters:,}", "| settings.lr | 0.0001 |", "CC-BY-4.0, CC0-1.0"):
        assert fact in card
    again = loaded.save_pretrained(tmp_path / "again")
    assert (again / "README.md").read_text() == card  # what is known of the training stays with the model
    save_pretrained(pipe.model.backbone, tmp_path / "base")
    assert "says nothing of how" in (tmp_path / "base" / "README.md").read_text()
    with pytest.raises(ValueError, match="holds a base model, a grid model is needed"):
        load(tmp_path / "base")


def test_compiled_it_makes_the_same_grid(pipe: Pipeline, truth: Frames, tmp_path: Path) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    pipe.save_pretrained(tmp_path)
    compiled = load(tmp_path)
    compiled.compile(backend="aot_eager")  # inductor would need a C++ compiler
    arguments: dict[str, Any] = {"fixed_view": truth[0], "freeze_time": truth[:, 0], "steps": 2}
    difference = compiled(**arguments).frames.astype(np.int16) - pipe(**arguments).frames
    assert np.abs(difference).max() <= 1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


class Oracle(GridModel):
    """Predicts the clean grid exactly, from the first view and the first time of what it is given alone."""

    def __init__(self) -> None:
        super().__init__(PixelBackbone(CONFIG), "soft")
        self.made = 0

    def forward(self, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None = None) -> Tensor:
        assert given[:, 0].all()
        assert given[:, :, 0].all()
        self.made += int((~given).sum())
        return noisy[:, :, :1] + noisy[:, :1] - noisy[:, :1, :1]


@pytest.mark.parametrize("size", [(5, 9), (4, 4), (7, 4), (3, 11), (8, 8), (2, 2)])
@pytest.mark.parametrize("windows", [Windows(4, 4), Windows(3, 5, 2, 3), Windows(4, 4, 3, 1), Windows(2, 2)])
def test_with_an_exact_model_windows_make_the_truth_each_frame_once(size: tuple[int, int], windows: Windows) -> None:
    oracle = Oracle()
    truth = additive_grid(*size)
    made = Pipeline(oracle)(fixed_view=truth[0], freeze_time=truth[:, 0], steps=1, windows=windows)
    np.testing.assert_array_equal(made.frames, truth)
    assert oracle.made == (size[0] - 1) * (size[1] - 1) == sum(window["made"] for window in made.record["windows"])


def test_overlaps_are_made_again_only_when_asked_and_compared() -> None:
    truth = additive_grid(5, 7)
    videos: dict[str, Any] = {"fixed_view": truth[0], "freeze_time": truth[:, 0], "steps": 1}
    made = Pipeline(Oracle())(**videos, windows=Windows(4, 4, 2, 2, check=True))
    np.testing.assert_array_equal(made.frames, truth)
    scores = [window["overlap_psnr_db"] for window in made.record["windows"]]
    assert scores[0] is None  # the first window overlaps none
    assert all(score == pytest.approx(58.92, abs=0.01) for score in scores[1:])
    unsure = [window["overlap_psnr_db"] for window in _random_fill(truth, check=True)[1]]
    assert unsure[0] is None
    assert all(5 < score < 12 for score in unsure[1:])  # noise against noise: 10 log10(6) = 7.8 dB
    np.testing.assert_array_equal(_random_fill(truth, check=True)[0], _random_fill(truth, check=False)[0])


def _random_fill(truth: Frames, *, check: bool) -> tuple[Frames, list[dict[str, Any]]]:
    def make(frames: Frames, given: Mask, seed: int) -> Frames:
        drawn = np.random.default_rng((seed, int(given.sum()))).integers(0, 256, frames.shape).astype(np.uint8)
        return np.where(given[..., None, None, None], frames, drawn).astype(np.uint8)

    given = np.zeros(truth.shape[:2], bool)
    given[0], given[:, 0] = True, True
    return fill_in_windows(make, truth, given, Windows(4, 4, 2, 2, check=check), seed=3)


def test_windows_go_along_time_first_with_seeds_of_their_own() -> None:
    windows = Windows(4, 4, 1, 2)
    places = windows.places(6, 7)
    assert [(views.start, times.start) for views, times in places] == [
        (0, 0), (0, 2), (0, 3), (2, 0), (2, 2), (2, 3),
    ]  # fmt: skip
    covered = np.zeros((6, 7), bool)
    for place in places:
        covered[place] = True
    assert covered.all()
    seeds = {seed_at(7, views.start, times.start) for views, times in places}
    assert len(seeds) == len(places)
    assert seed_at(7, 0, 0) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_grid_of_one_window_is_made_as_without_windows(pipe: Pipeline, truth: Frames) -> None:
    arguments: dict[str, Any] = {"fixed_view": truth[0], "freeze_time": truth[:, 0], "steps": 2, "seed": 4}
    np.testing.assert_array_equal(pipe(**arguments, windows=Windows(8, 8)).frames, pipe(**arguments).frames)
    alone = pipe(fixed_view=truth[0], views=5, steps=1, windows=Windows(3, 3))
    np.testing.assert_array_equal(alone.frames[0], truth[0])
    assert sum(window["made"] for window in alone.record["windows"]) == 4 * TIMES


def test_windows_that_cannot_go_on_are_refused(pipe: Pipeline, truth: Frames) -> None:
    with pytest.raises(ValueError, match="window of 4 views that shares 4 with the next"):
        Windows(4, 4, view_overlap=4)
    with pytest.raises(ValueError, match="window of 1 times"):
        Windows(4, 1)
    with pytest.raises(ValueError, match="nothing to check; let them share 2 or more"):
        Windows(4, 4, check=True)
    corner = np.zeros((VIEWS, TIMES), bool)
    corner[2, 3] = True
    with pytest.raises(ValueError, match="views 0 to 1 and times 0 to 1 has no known frame"):
        pipe.fill(Conditions(truth, corner), Sampling(1), windows=Windows(2, 2))
