"""Exported models in a storage: like `fourreal.training.model.pretrained`, for folders that may be `s3://`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.model import Backbone, GridModel, load_model, read_description, save_pretrained
from fourreal.training.model.card import CARD_FILE
from fourreal.training.model.pretrained import CONFIG_FILE, WEIGHTS_FILE, Kind

MODEL_FOLDER = "model"
"""Where a run's --out has its exported model."""


def model_folder(run_or_folder: str) -> str:
    """The folder of an exported model: the folder itself, or that of the run which has it as its --out."""
    run = Storage(run_or_folder.rstrip("/")).child(MODEL_FOLDER)
    return run.uri if run.exists(CONFIG_FILE) else run_or_folder


def export(model: Backbone | GridModel, storage: Storage, training: dict[str, Any]) -> None:
    """Write the model; each of its files appears whole or not at all, and what makes it a model comes last.

    Over an earlier export of the same run, whose files fit these, there is a whole model at any moment.
    """
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, training)
        for name in (WEIGHTS_FILE, CARD_FILE, CONFIG_FILE):
            storage.write_file(name, Path(folder) / name)


@overload
def load_exported(uri: str, kind: Literal["base"]) -> Backbone: ...
@overload
def load_exported(uri: str, kind: Literal["grid"]) -> GridModel: ...


def load_exported(uri: str, kind: Literal["base", "grid"]) -> Backbone | GridModel:
    """The exported model of a folder. UserError when there is none of that kind."""
    with _local(uri, (WEIGHTS_FILE, CONFIG_FILE)) as folder:
        try:
            return load_model(folder, kind)
        except ValueError as error:
            raise UserError(str(error).replace(str(folder), uri)) from None


def read_exported_description(uri: str, kind: Kind) -> dict[str, Any]:
    """The `config.json` of an exported model. UserError when there is none, or of another kind."""
    with _local(uri, (CONFIG_FILE,)) as folder:
        try:
            description = read_description(folder)
        except ValueError as error:
            raise UserError(str(error).replace(str(folder), uri)) from None
    if description["kind"] != kind:
        raise UserError(
            f"{uri} holds a {description['kind']} model where a {kind} model is needed: name another folder"
        )
    if not Storage(uri).exists(WEIGHTS_FILE):
        raise UserError(f"{uri} has no {WEIGHTS_FILE}: export the model again")
    return description


@contextmanager
def _local(uri: str, names: tuple[str, ...]) -> Iterator[Path]:
    """The named files of a storage in a local folder; those that are missing are left out."""
    storage = Storage(uri)
    if storage.is_local:
        yield Path(storage.root)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            if storage.exists(name):
                (Path(folder) / name).write_bytes(storage.read(name))
        yield Path(folder)
