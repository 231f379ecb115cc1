"""Models taken apart: each part alone is what the model is when the other has learned nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.evaluation.studies.small_study import small_config
from tests.evaluation.synthetic_grids import make_grid

from fourreal.evaluation.metrics import PSNR, Comparison
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.parts import REFINEMENT, TRANSFORMER, WHOLE, check_parts, take_apart
from fourreal.evaluation.studies.training import arm_folder, model_of
from fourreal.platform.codec import encode
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage
from fourreal.training.model import GridModel, Pipeline, PixelBackbone, make_backbone, save_pretrained

SHAPE = {"height": 12, "width": 16, "patch_size": 4, "hidden_dim": 16, "depth": 1, "heads": 2}
WITH = {**SHAPE, "prediction": "residual", "references": True, "refinement": 4}


def _model(shape: dict[str, object] = WITH) -> GridModel:
    torch.manual_seed(0)
    return GridModel(make_backbone("pixel", shape), "soft").eval()


def _disturb(module: torch.nn.Module | None) -> None:
    assert module is not None
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def _made(model: GridModel) -> torch.Tensor:
    known = make_grid("a", height=12, width=16).frames
    return torch.from_numpy(Pipeline(model)(fixed_view=known[0], freeze_time=known[:, 0], steps=1, seed=0).frames)


def test_where_one_part_learned_the_other_alone_is_a_new_model() -> None:
    new, model = _made(_model()), _model()
    assert isinstance(model.backbone, PixelBackbone)
    _disturb(model.backbone.head_linear)
    parts = {name: _made(part) for name, part in take_apart(model).items()}
    assert not torch.equal(parts[WHOLE], new)
    assert torch.equal(parts[TRANSFORMER], parts[WHOLE])
    assert torch.equal(parts[REFINEMENT], new)
    model = _model()
    _disturb(model.refinement)
    parts = {name: _made(part) for name, part in take_apart(model).items()}
    assert not torch.equal(parts[WHOLE], new)
    assert torch.equal(parts[REFINEMENT], parts[WHOLE])
    assert torch.equal(parts[TRANSFORMER], new)


@pytest.mark.parametrize("shape", [SHAPE, {**SHAPE, "prediction": "residual"}, {**WITH, "prediction": "clean"}])
def test_what_has_no_such_parts_is_not_taken_apart(shape: dict[str, object]) -> None:
    assert take_apart(_model(shape)) == {}


def test_parts_are_scored_over_what_they_make(tmp_path: Path) -> None:
    config = small_config(tmp_path / "study", arms=("soft",))
    grid, model = make_grid("a", height=12, width=16), _model()
    _disturb(model)
    save_pretrained(model, model_of(arm_folder(config, "soft", 0)))
    write_shard(Storage(str(tmp_path / "test")), 0, [("a", encode(grid, lossless=True))])
    found = check_parts(config, {"procedural": str(tmp_path / "test")}, Ledger.open(config))["soft"]["procedural"]
    for name, part in take_apart(model).items():
        made, true = _made(part).numpy()[1:, 1:], grid.frames[1:, 1:]
        comparison = Comparison("a", made.reshape(-1, *made.shape[2:]), true.reshape(-1, *true.shape[2:]))
        assert found[name] == pytest.approx(PSNR().compute(comparison).value)
