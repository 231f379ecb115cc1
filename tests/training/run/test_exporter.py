"""Exports while training goes on: whole at any moment, and telling where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loop_runs import CPU, settings_for
from squares import square_grid

from fourreal.platform.codec import encode
from fourreal.platform.shards import record_name, write_shard
from fourreal.platform.storage import Storage
from fourreal.training.checkpoint.snapshots import copied
from fourreal.training.engine.torch import TorchEngine
from fourreal.training.model import load_model, read_description
from fourreal.training.run.exporter import Exporter
from fourreal.training.run.provenance import UNRECORDED, provenance
from fourreal.training.settings.groups import CheckpointSettings
from fourreal.training.stage.assembly import build_model

MakeFolder = Callable[..., str]


def folder_with_licences(folder: Path, *licences: str) -> Storage:
    storage = Storage(str(folder))
    grids = [square_grid(number, 3, 3, 16, 24) for number in range(len(licences))]
    grids = [
        replace(grid, meta=replace(grid.meta, licence=licence)) for grid, licence in zip(grids, licences, strict=True)
    ]
    write_shard(storage, 0, [(grid.key, encode(grid)) for grid in grids])
    return storage


def test_provenance_counts_licences_and_knows_the_bytes(tmp_path: Path) -> None:
    storage = folder_with_licences(tmp_path / "a", "CC-BY-4.0", "CC0-1.0", "CC-BY-4.0", "")
    facts = provenance([storage.uri], "demo-base")
    [data] = facts["data"]
    assert data["licences"] == {"CC-BY-4.0": 2, "CC0-1.0": 1, "unknown": 1}
    assert (data["grids"], data["shards"], facts["recipe"]) == (4, 1, "demo-base")
    assert facts["data_licences"] == ["CC-BY-4.0", "CC0-1.0", "unknown"]
    assert provenance([storage.uri], "")["data"] == [data]
    other = folder_with_licences(tmp_path / "b", "CC-BY-4.0", "CC0-1.0", "CC-BY-4.0", "MIT")
    assert provenance([other.uri], "")["data"][0]["fingerprint"] != data["fingerprint"]
    record = json.loads(storage.read(record_name(0)))
    del record["licences"]  # as records were written before they were counted
    storage.write(record_name(0), json.dumps(record).encode())
    assert provenance([storage.uri], "")["data"][0]["licences"] == {UNRECORDED: 4}


def test_an_export_is_the_model_with_its_story(make_folder: MakeFolder, tmp_path: Path) -> None:
    settings = replace(
        settings_for(make_folder("a")), out=str(tmp_path), checkpoints=CheckpointSettings(every=5, keep_every=10)
    )
    engine = TorchEngine(build_model(settings, None), CPU, settings.optimizer, settings.engine)
    exporter = Exporter(settings, provenance(settings.data.folders, "tiny-base"))
    for step in (5, 10, 15):
        with torch.no_grad():
            engine.model.head_linear.weight.fill_(step)  # type: ignore[union-attr, operator]
        random_state = torch.get_rng_state()
        exporter.export(copied(engine.weights()), {"steps": step, "end_loss": 0.5})
        assert torch.equal(torch.get_rng_state(), random_state)  # training's randomness is left alone
        model = load_model(tmp_path / "model", "base")
        for name, tensor in engine.model.state_dict().items():
            assert torch.equal(model.state_dict()[name], tensor), name
    assert [path.name for path in (tmp_path / "exports").iterdir()] == ["step-00000010"]
    assert load_model(tmp_path / "exports" / "step-00000010", "base").state_dict()["head_linear.weight"][0, 0] == 10
    training = read_description(tmp_path / "model")["training"]
    assert training["steps"] == 15
    assert training["data"][0]["grids"] == 9
    card = (tmp_path / "model" / "README.md").read_text()
    assert "tiny-base" in card
    assert training["data"][0]["fingerprint"] in card


def test_every_export_of_latents_has_the_whole_autoencoder(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a copy that broke off."""
    settings = settings_for(make_folder("a"))
    start = Storage(str(tmp_path / "start"))
    parts = {"vae/config.json": b"{}", "vae/diffusion_pytorch_model.safetensors": b"weights"}
    for name, content in parts.items():
        start.write(name, content)
    settings = replace(
        settings, out=str(tmp_path / "out"), start_from=start.uri, data=replace(settings.data, coded=True),
        checkpoints=CheckpointSettings(every=5, keep_every=10),
    )  # fmt: skip
    weights = build_model(settings, None).state_dict()
    write = Storage.write

    def breaks_off(storage: Storage, path: str, content: bytes) -> None:
        if path.endswith(".safetensors"):
            raise OSError("killed")
        write(storage, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", breaks_off)
        with pytest.raises(OSError, match="killed"):
            Exporter(settings, {}).export(copied(weights), {"steps": 10})
    Exporter(settings, {}).export(copied(weights), {"steps": 10})
    for folder in ("model", "exports/step-00000010"):
        load_model(tmp_path / "out" / folder, "base")
        for name, content in parts.items():
            assert (tmp_path / "out" / folder / name).read_bytes() == content
