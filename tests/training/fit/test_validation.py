"""The loss on held-out grids: the same question every time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from loop_runs import ALONE, CPU, settings_for

from fourreal.platform.errors import UserError
from fourreal.training.engine.torch import TorchEngine
from fourreal.training.fit.objective import objective_of
from fourreal.training.fit.validation import Validation
from fourreal.training.settings.groups import ValidationSettings
from fourreal.training.stage.assembly import build_model

MakeFolder = Callable[..., str]


def test_only_the_model_changes_it(make_folder: MakeFolder) -> None:
    settings = settings_for(make_folder("a"), validation=ValidationSettings(data=(make_folder("held-out", start=70),)))
    assert settings.validation_data is not None
    engine = TorchEngine(build_model(settings, None), CPU, settings.optimizer, settings.engine)
    objective = objective_of(build_model(settings, None), settings.diffusion)
    first = Validation(settings.validation_data, 12, objective, ALONE)
    random_state = torch.get_rng_state()
    losses = first.losses(engine, CPU)
    assert torch.equal(torch.get_rng_state(), random_state)  # training's randomness is left alone
    assert (
        losses
        == first.losses(engine, CPU)
        == Validation(settings.validation_data, 12, objective, ALONE).losses(engine, CPU)
    )
    by_time = {name: loss for name, loss in losses.items() if name != "validation_loss"}
    assert by_time
    assert min(by_time.values()) <= losses["validation_loss"] <= max(by_time.values())
    assert all(parameter.grad is None for parameter in engine.model.parameters())
    with torch.no_grad():
        engine.model.head_linear.weight += 0.1  # type: ignore[union-attr]
    assert first.losses(engine, CPU) != losses


def test_held_out_means_held_out(make_folder: MakeFolder) -> None:
    folder = make_folder("a")
    with pytest.raises(UserError, match=r"is in --data and in --validation\.data"):
        settings_for(folder, validation=ValidationSettings(data=(folder,)))
    assert settings_for(folder).validation_data is None
