"""Exported models of a storage, local or `s3://`, as what generate runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.model import Pipeline, PixelBackbone, PixelConfig, Upsampler, load_model, starter
from fourreal.training.model.pretrained import CONFIG_FILE, WEIGHTS_FILE

STARTER = "starter"
"""In place of an address: the model that is part of the package."""


def read_pipeline(uri: str, upsampler_uri: str | None = None) -> Pipeline:
    """The pipeline of a grid model of pixels, and of an upsampler behind it. UserError if they cannot be used."""
    with _local(uri) as folder:
        model = load_model(folder, "grid")
    if model.backbone.name != PixelBackbone.name:
        raise UserError(
            f"{uri} holds a model of latents ({model.backbone.name}), fourreal generate runs models of pixels: "
            f"name a grid model that fourreal train made"
        )
    if upsampler_uri is None:
        return Pipeline(model)
    with _local(upsampler_uri) as folder:
        upsampler = load_model(folder, "upsampler")
    made, read = frame_size(model.config), (upsampler.config.low_height, upsampler.config.low_width)
    if made != read:
        raise UserError(
            f"{uri} makes frames of {made[0]}x{made[1]} pixels and {upsampler_uri} reads {read[0]}x{read[1]}: "
            f"name an upsampler for this model"
        )
    return Pipeline(model, upsampler=upsampler)


def frame_size(config: object) -> tuple[int, int]:
    """Height and width of the frames of a pixel model, which `read_pipeline` gives alone."""
    assert isinstance(config, PixelConfig)
    return config.height, config.width


def upsampled_size(upsampler: Upsampler) -> tuple[int, int]:
    """Height and width of the frames that an upsampler makes."""
    return frame_size(upsampler.config.backbone)


def model_sha256(uri: str) -> str:
    """Names a model: sha256 of its weights followed by its configuration."""
    try:
        return model_storage(uri).sha256(WEIGHTS_FILE, CONFIG_FILE)
    except OSError as error:
        name = CONFIG_FILE if CONFIG_FILE in str(error) else WEIGHTS_FILE
        raise UserError(f"{uri} is no exported model (no {name} in it): name a folder that training exported") from None


def model_storage(uri: str) -> Storage:
    """Where the files of an exported model lie."""
    return Storage(str(starter.FOLDER) if uri == STARTER else uri)


@contextmanager
def _local(uri: str) -> Iterator[Path]:
    """The export in a local folder; what `load` says of it becomes a UserError that names the address."""
    storage = model_storage(uri)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(storage.root) if storage.is_local else Path(scratch)
        if not storage.is_local:
            for name in (CONFIG_FILE, WEIGHTS_FILE):
                if storage.exists(name):
                    (folder / name).write_bytes(storage.read(name))
        try:
            yield folder
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(str(error).replace(str(folder), uri)) from None
