"""Sample pictures: what a model makes of a grid of its training data, beside the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from fourreal.platform.contact_sheet import contact_sheet, stack_sheets
from fourreal.platform.shards import read_shard, require_shards
from fourreal.platform.storage import Storage
from fourreal.training.data.pixels import even_indices, fit, to_model, to_pixels
from fourreal.training.model import (
    FIXED_VIEW,
    FREEZE_TIME,
    Backbone,
    GridModel,
    Sampling,
    Upsampler,
    border_given,
    generate_grids,
)
from fourreal.training.model.sampling import sample_euler, seeded_noise, sequence_velocity, time_schedule
from fourreal.training.model.upsampler import shrink
from fourreal.training.stage.exports import Model
from fourreal.training.stage.settings import StageSettings

_STEPS = 4
Image = npt.NDArray[np.uint8]


@torch.no_grad()
def sample_picture(model: Model, settings: StageSettings) -> Image:
    """One RGB picture: the first grid of the data above what the model generates from its given frames.

    The grid stage is given the first view and the first time; the base stage makes both of these videos from their
    first frames; the upsampler is given all of it, shrunk.
    """
    truth = _first_grid(settings)
    device = next(model.parameters()).device
    clean = to_model(truth).to(device)
    if isinstance(model, Upsampler):
        low = to_pixels(shrink(clean, model.config))
        enlarged = model.upsample(low, Sampling(steps=_STEPS), seed=settings.seed)
        resized = to_pixels(model.resize(to_model(low).to(device)))
        pictures = [contact_sheet(truth), contact_sheet(resized), contact_sheet(enlarged)]
        return stack_sheets(pictures, ["truth", "shrunk and resized", f"upsampled in {_STEPS} steps"])
    if isinstance(model, GridModel):
        given = border_given(*clean.shape[:2]).to(device)
        made = generate_grids(model, clean[None], given[None], _STEPS, [settings.seed])[0]
        sheets = [contact_sheet(truth), contact_sheet(to_pixels(made))]
        return stack_sheets(sheets, ["truth", f"made in {_STEPS} steps"])
    pictures, titles = [], []
    for name, context, video in (("fixed view", FIXED_VIEW, clean[0]), ("freeze time", FREEZE_TIME, clean[:, 0])):
        if len(video) > 1:
            made = _continue_video(model, video, context, settings.seed)
            pictures += [contact_sheet(to_pixels(video)[None]), contact_sheet(to_pixels(made)[None])]
            titles += [f"{name}, truth", f"{name}, made in {_STEPS} steps"]
    return stack_sheets(pictures, titles)


def _continue_video(model: Backbone, video: torch.Tensor, context: int, seed: int) -> torch.Tensor:
    given = torch.zeros(1, len(video), dtype=torch.bool, device=video.device)
    given[:, 0] = True
    velocity = sequence_velocity(model, given, torch.tensor([context], device=video.device))
    noise = seeded_noise([seed], video.shape).to(video)
    return sample_euler(velocity, noise, video[None], given, time_schedule(_STEPS))[0]


def _first_grid(settings: StageSettings) -> Image:
    shape = settings.shape
    storage = Storage(settings.data.folders[0])
    record = next(record for record in require_shards(storage) if record.keys)
    grid = next(read_shard(storage, record))
    views, times = even_indices(grid.shape[0], shape.views), even_indices(grid.shape[1], shape.times)
    frames = fit(grid.frames_at([(int(v), int(t)) for v in views for t in times]), shape.height, shape.width)
    return frames.reshape(shape.views, shape.times, *frames.shape[1:])
