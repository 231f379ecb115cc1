"""Is the base video model worth building on? It has to beat a linear blend at frames between two given ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch

from fourreal.evaluation.metrics import PSNR, Comparison, Tally
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.significance import difference
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.ledger import Record
from fourreal.platform.storage import Storage
from fourreal.training.model import FIXED_VIEW, FREEZE_TIME, Backbone, load_model
from fourreal.training.model.flow import add_noise, to_clean
from fourreal.training.model.sampling.schedule import seeded_noise

Frames = npt.NDArray[np.uint8]


def linear_blend(frames: Frames) -> Frames:
    """A video `[N, H, W, 3]` whose frames between the first and the last are these two, mixed by their distance."""
    share = np.linspace(0.0, 1.0, len(frames))[:, None, None, None]
    return np.asarray(((1 - share) * frames[:1] + share * frames[-1:]).round().astype(np.uint8))


@torch.no_grad()
def interpolate(model: Backbone, frames: Frames, context: int, seed: int) -> Frames:
    """The same by the base model, in one step from noise: its estimate of the mean. `context`: kind of video."""
    device = next(model.parameters()).device
    clean = torch.from_numpy(frames).movedim(-1, -3)[None].float() / 127.5 - 1
    given = torch.zeros(1, len(frames), dtype=torch.bool)
    given[:, [0, -1]] = True
    time = torch.ones(1)
    noisy = add_noise(clean, seeded_noise([seed], clean.shape[1:]), time, given)
    inputs = (tensor.to(device) for tensor in (noisy, time, given, torch.tensor([context])))
    guess = to_clean(model(*inputs).cpu(), noisy, time, model.config)
    pixels = ((guess[0].clamp(-1, 1) + 1) * 127.5).round().byte().movedim(-3, -1).numpy()
    pixels[[0, -1]] = frames[[0, -1]]
    return np.asarray(pixels)


def check_base(model_folder: str, tests: Mapping[str, str], config: Config) -> Record:
    """PSNR of base model and linear blend by test set: of each grid's videos of its outer views and outer times."""
    model = load_model(model_folder, "base").to(config.device)
    metric = PSNR()
    record: Record = {}
    for name, folder in tests.items():
        base, blend, shelf = Tally(), Tally(), Shelf(Storage(folder))
        for key, videos in _videos(shelf):
            true = np.concatenate([video[1:-1] for video, _ in videos])
            guesses = np.concatenate(
                [interpolate(model, video, context, config.seed)[1:-1] for video, context in videos]
            )
            blends = np.concatenate([linear_blend(video)[1:-1] for video, _ in videos])
            base = metric.accumulate(base, metric.compute(Comparison(key, guesses, true)))
            blend = metric.accumulate(blend, metric.compute(Comparison(key, blends, true)))
        gap = difference(metric, base, blend, shelf.sources, config.resamples, config.seed)
        assert gap is not None
        record[name] = {
            "base": metric.finalize(base).value,
            "blend": metric.finalize(blend).value,
            "difference": gap.value,
            "interval_95": None if gap.interval is None else [gap.interval.low, gap.interval.high],
            "grids": gap.grids,
            "sources": gap.sources,
        }
    return record


def weakness(record: Record) -> str:
    """Where the base model does not beat the blend, as half a sentence; "" where it does on every test set."""
    return ", ".join(
        f"{entry['base']:.2f} against {entry['blend']:.2f} dB on {name} grids"
        for name, entry in record.items()
        if entry["difference"] <= 0
    )


def _videos(shelf: Shelf) -> Iterator[tuple[str, list[tuple[Frames, int]]]]:
    for key in shelf.keys:
        encoded = shelf.grid(key)
        assert encoded is not None
        grid = encoded.decode().frames
        fixed = [(grid[v], FIXED_VIEW) for v in (0, -1)]
        yield key, [*fixed, *((grid[:, t], FREEZE_TIME) for t in (0, -1))]
