"""Model folders: an export read to go on from, or to generate with."""

from __future__ import annotations

import functools
import json
import struct
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.harness import Target
from tests.fuzz.mutations import damaged_bytes, damaged_document, damaged_json, to_json

from fourreal.evaluation.exported import read_pipeline
from fourreal.platform.errors import UserError
from fourreal.training.model import GridModel, PixelBackbone, PixelConfig, save_pretrained
from fourreal.training.model.pretrained import CONFIG_FILE, WEIGHTS_FILE
from fourreal.training.stage.exports import load_any, read_start

Input = tuple[bytes, bytes]
"""Configuration and weights."""


@functools.cache
def _export() -> Input:
    backbone = PixelBackbone(PixelConfig(height=8, width=8, patch_size=4, hidden_dim=16, depth=1, heads=2))
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(GridModel(backbone, "sequential"), folder)
        return (Path(folder) / CONFIG_FILE).read_bytes(), (Path(folder) / WEIGHTS_FILE).read_bytes()


def _damaged_header(weights: bytes) -> st.SearchStrategy[bytes]:
    """Weights whose table of tensors is damaged, and is as long as the file says."""
    (size,) = struct.unpack_from("<Q", weights)
    table, rest = json.loads(weights[8 : 8 + size]), weights[8 + size :]
    return (
        damaged_document(table, ["F32", "F64", "BOOL", [2**62, 4]])
        .map(to_json)
        .map(lambda text: struct.pack("<Q", len(text)) + text + rest)
    )


def _inputs() -> st.SearchStrategy[Input]:
    config, weights = _export()
    configs = damaged_json(json.loads(config), ["base", "grid", "upsampler", "wan", "ltx", "soft", 10**6])
    return st.one_of(
        configs.map(lambda text: (text, weights)),
        damaged_bytes(config).map(lambda text: (text, weights)),
        damaged_bytes(weights).map(lambda data: (config, data)),
        _damaged_header(weights).map(lambda data: (config, data)),
    )


def _use(given: Input, folder: Path) -> object:
    config, weights = given
    (folder / CONFIG_FILE).write_bytes(config)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    refused: UserError | None = None
    for read in (lambda uri: read_start(uri, ("grid", "base")), load_any, read_pipeline):
        try:
            read(str(folder))
        except UserError as error:
            refused = error
    if refused:
        raise refused
    return None


TARGET = Target("model", _inputs, _use, (UserError,), cost=2)
