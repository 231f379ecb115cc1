"""Export and load, and that the model package stands on its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from full_disks import files_limited_to
from safetensors.torch import load_file, save_file
from tiny_models import ARCHITECTURES, captions, grid_input, lively, lively_grid_model

from fourreal.training.model import (
    GridModel,
    PixelBackbone,
    PixelConfig,
    load_model,
    read_description,
    save_pretrained,
)
from fourreal.training.model.backbones import describe_diffusers

CONFIG = PixelConfig(height=8, width=8, patch_size=4, hidden_dim=32, depth=2, heads=2, prediction="velocity")
REPOSITORY = Path(__file__).parents[3]


@torch.no_grad()
@pytest.mark.parametrize("name", ["pixel", "wan", "ltx"])
@pytest.mark.parametrize("architecture", [None, *ARCHITECTURES])
def test_loading_gives_the_saved_model(tmp_path: Path, name: str, architecture: str | None) -> None:
    """From the folder alone: nothing is asked of a hub."""
    model = lively_grid_model(architecture, name) if architecture else lively(name)
    save_pretrained(model, tmp_path, {"steps": 7})
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert getattr(loaded, "architecture", None) == architecture
    assert read_description(tmp_path)["training"] == {"steps": 7}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    noisy, time, given = grid_input(2, 3, name)
    if isinstance(model, GridModel) and isinstance(loaded, GridModel):
        inputs = (noisy, time, given, captions(name))
    else:
        inputs = (noisy[:, 0], time, given[:, 0], torch.zeros(2, dtype=torch.long), captions(name))
    assert torch.equal(loaded(*inputs), model(*inputs))


def test_numbers_keep_the_type_they_were_saved_in(tmp_path: Path) -> None:
    model = lively_grid_model("soft", "wan").bfloat16()
    model.backbone.get_submodule("transformer.blocks.0.attn1.to_q").float()
    loaded = load_model(save_pretrained(model, tmp_path))
    for (name, saved), restored in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert saved.dtype == restored.dtype, name
        assert torch.equal(saved, restored), name


def test_weights_of_another_architecture_or_backbone_name_both_sides(tmp_path: Path) -> None:
    for name, model in (("soft", lively_grid_model("soft")), ("wan", lively_grid_model("soft", "wan"))):
        save_pretrained(model, tmp_path / name)
    save_pretrained(lively_grid_model("hard"), tmp_path)
    for name in ("soft", "wan"):
        (tmp_path / "model.safetensors").write_bytes((tmp_path / name / "model.safetensors").read_bytes())
        with pytest.raises(ValueError, match=r"config.json describes .* model.safetensors holds .* not from one"):
            load_model(tmp_path)
    with pytest.raises(ValueError, match="holds a soft model on a pixel backbone, a hard model on a pixel backbone"):
        load_model(tmp_path / "soft", kind="grid", architecture="hard")
    with pytest.raises(ValueError, match="holds a soft model on a wan backbone, a soft model on a pixel backbone"):
        load_model(tmp_path / "wan", kind="grid", backbone="pixel")


def test_a_wrong_kind_names_both_sides(tmp_path: Path) -> None:
    save_pretrained(PixelBackbone(CONFIG), tmp_path)
    with pytest.raises(ValueError, match="holds a base model, a grid model is needed"):
        load_model(tmp_path, kind="grid")


def test_weights_that_do_not_fit_name_both_shapes(tmp_path: Path) -> None:
    save_pretrained(PixelBackbone(CONFIG), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["head_linear.weight"] = torch.zeros(3, 32)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"describes \(48, 32\) for head_linear.weight .* holds \(3, 32\)"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"schema_version": 99}, "schema version 99"), ({"kind": "other"}, "kind 'other'")],
)
def test_unknown_descriptions_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    save_pretrained(PixelBackbone(CONFIG), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("model", value)
            for value in (None, {}, {"height": "8"}, {"depth": None}, {"depth": 5000}, {"patch_size": 0})
        ),
        *(
            ("model", {"hidden_dim": 2**40}),
            ("model", {"hidden_dim": 2**19}),
            ("backbone", None),
            ("backbone", ["wan"]),
        ),
        *(("training", 5), ("architecture", {"a": 1})),
    ],
)
def test_a_hostile_description_is_refused_in_one_sentence_before_memory_is_taken(
    tmp_path: Path, name: str, value: object
) -> None:
    save_pretrained(PixelBackbone(CONFIG), tmp_path)
    path = tmp_path / "config.json"
    document = json.loads(path.read_text())
    both = {**document["model"], **value} if isinstance(value, dict) and name == "model" and value else value
    path.write_text(json.dumps({**document, name: both}))
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_json_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 20_000)
    with pytest.raises(ValueError, match="not JSON"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="not JSON"):
        describe_diffusers(tmp_path)


def test_missing_and_broken_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no exported model"):
        load_model(tmp_path)
    save_pretrained(PixelBackbone(CONFIG), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="export the model again"):
        load_model(tmp_path)


def test_no_room_for_the_weights_is_an_error_of_the_system(tmp_path: Path) -> None:
    """As for any other file: training goes on without an export then."""
    with files_limited_to(1000), pytest.raises(OSError, match=r"cannot write .*model\.safetensors"):
        save_pretrained(PixelBackbone(CONFIG), tmp_path)


def test_the_model_package_stands_on_its_own() -> None:
    code = (
        "import sys, fourreal.training.model as m; "
        "m.generate_grids; loaded = {name.split('.')[0] for name in sys.modules}; "
        "print(sorted(loaded & {'ray', 'deepspeed', 'bpy', 'mlflow', 'cv2', 'pyarrow'}), "
        "[n for n in sys.modules if n.startswith('fourreal.platform')])"
    )
    path = str(REPOSITORY / "training")
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[] []"
