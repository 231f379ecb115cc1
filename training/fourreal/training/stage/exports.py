"""Exported models in a storage: like `fourreal.training.model.pretrained`, for folders that may be `s3://`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.model import Backbone, GridModel, Upsampler, load_model, read_description, save_pretrained
from fourreal.training.model.backbones import describe_diffusers, load_diffusers
from fourreal.training.model.card import CARD_FILE
from fourreal.training.model.pretrained import CONFIG_FILE, WEIGHTS_FILE, Kind

Model = Backbone | GridModel | Upsampler

VAE_FOLDER = "vae"
MODEL_FOLDER = "model"
"""Where a run's --out has its exported model."""


def model_folder(run_or_folder: str, beside: str) -> str:
    """The folder of a model: the folder itself, or that of the run which has it, or its neighbour, as its --out.

    beside: the --out of the run that asks
    """
    parent, slash, _ = beside.rstrip("/").rpartition("/")
    for run in (run_or_folder, f"{parent}{slash}{run_or_folder}"):
        folder = Storage(run.rstrip("/")).child(MODEL_FOLDER)
        if folder.exists(CONFIG_FILE):
            return folder.uri
    return run_or_folder


def export(model: Model, storage: Storage, training: dict[str, Any]) -> None:
    """Write the model; each of its files appears whole or not at all, and what makes it a model comes last.

    Over an earlier export of the same run, whose files fit these, there is a whole model at any moment.
    """
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, training)
        for name in (WEIGHTS_FILE, CARD_FILE, CONFIG_FILE):
            storage.write_file(name, Path(folder) / name)


def copy_autoencoder(start_from: str, storage: Storage) -> None:
    """Put the autoencoder of the model that a stage started from beside its export, where there is one.

    Once for each folder: what makes it an autoencoder comes last, so that where this is, all is.
    """
    if storage.exists(f"{VAE_FOLDER}/{CONFIG_FILE}"):
        return
    source = Storage(start_from).child(VAE_FOLDER)
    for path in sorted((entry.path for entry in source.list(recursive=True)), key=lambda path: path == CONFIG_FILE):
        storage.write(f"{VAE_FOLDER}/{path}", source.read(path))


def load_any(uri: str) -> Model:
    """The model of a folder, exported or of diffusers. UserError when there is none."""
    with _local(uri, (WEIGHTS_FILE, CONFIG_FILE)) as folder:
        try:
            if describe_diffusers(folder) is not None:
                return load_diffusers(folder)
            return load_model(folder)
        except ValueError as error:
            raise UserError(str(error).replace(str(folder), uri)) from None


def read_start(uri: str, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Kind, architecture, backbone and configuration of the model of a folder, exported or of diffusers.

    UserError when there is none, or when it is of another kind.
    """
    with _local(uri, (CONFIG_FILE,)) as folder:
        try:
            found = describe_diffusers(folder)
            description = found or read_description(folder)
        except ValueError as error:
            raise UserError(str(error).replace(str(folder), uri)) from None
    if description["kind"] not in kinds:
        holds, needed = (
            f"an {kind}" if kind == "upsampler" else f"a {kind}" for kind in (description["kind"], kinds[0])
        )
        raise UserError(f"{uri} holds {holds} model where {needed} model is needed: name another folder")
    if found is None and not Storage(uri).exists(WEIGHTS_FILE):
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
