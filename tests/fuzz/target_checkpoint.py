"""Checkpoints of the plain-torch engine: damaged files, and files that were changed together with their sums.

DeepSpeed's own are no target: they are pickles, loaded only from the run's own storage (README of training).
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path

import torch
from hypothesis import strategies as st
from tests.fuzz.harness import Target
from tests.fuzz.mutations import damaged_bytes, damaged_json, to_json

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.checkpoint.store import MANIFEST_FILE, CheckpointStore
from fourreal.training.data.batches import DataPosition
from fourreal.training.engine.torch import TorchEngine
from fourreal.training.fit import train_state
from fourreal.training.fit.guard import Guard
from fourreal.training.fit.losses import LossRecord
from fourreal.training.fit.train_state import TrainState
from fourreal.training.settings.groups import CheckpointSettings, EngineSettings, GuardSettings, OptimizerSettings
from fourreal.training.workers.ranks import Worker

_ALONE = Worker(0, 1)
_STEP = 3
_FOLDER = f"step-{_STEP:08d}"
Files = dict[str, bytes]


def _engine() -> TorchEngine:
    return TorchEngine(torch.nn.Linear(3, 2), torch.device("cpu"), OptimizerSettings(), EngineSettings(kind="torch"))


def _store(folder: Path) -> CheckpointStore:
    return CheckpointStore(Storage(str(folder)), CheckpointSettings(), _ALONE)


@functools.cache
def _sound() -> Files:
    engine = _engine()
    engine.backward(engine.forward(torch.ones(4, 3)).sum())
    engine.step(1e-3)
    state = TrainState(_STEP, DataPosition(0, (0,)), LossRecord.for_steps(10), Guard(GuardSettings()))
    files = train_state.snapshot(engine, state, torch.Generator(), _ALONE, "run")
    with tempfile.TemporaryDirectory() as folder:
        assert _store(Path(folder)).save(_STEP, files.write) is None
        return {path.name: path.read_bytes() for path in (Path(folder) / _FOLDER).iterdir()}


def _with_sums(files: Files) -> Files:
    """The same with a manifest that fits: as somebody would leave it who meant it."""
    sums = {
        name: {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
        if name != MANIFEST_FILE
    }
    return {**files, MANIFEST_FILE: to_json({**json.loads(files[MANIFEST_FILE]), "files": sums})}


def _damaged_archive(data: bytes) -> st.SearchStrategy[bytes]:
    """A file of torch.save in which the pickle of its structure is damaged, and the archive is sound."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (pickle,) = (name for name in members if name.endswith("data.pkl"))

    def packed(damaged: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in {**members, pickle: damaged}.items():
                archive.writestr(name, content)
        return file.getvalue()

    return damaged_bytes(members[pickle]).map(packed)


def _damaged(name: str) -> st.SearchStrategy[Files]:
    data = _sound()[name]
    if name.endswith(".json"):
        content = st.one_of(damaged_json(json.loads(data)), damaged_bytes(data))
    else:
        content = st.one_of(_damaged_archive(data), damaged_bytes(data))
    return content.map(lambda changed: {**_sound(), name: changed})


def _inputs() -> st.SearchStrategy[Files]:
    files = sorted(set(_sound()) - {MANIFEST_FILE})
    meant = st.sampled_from(files).flatmap(_damaged).map(_with_sums)
    names = st.sampled_from(["../../outside/secret", "/etc/passwd", "a/../../x", ""])
    elsewhere = names.map(
        lambda n: {**_sound(), MANIFEST_FILE: to_json({"files": {n: {"size_bytes": 1, "sha256": ""}}})}
    )
    return st.one_of(meant, meant, meant, st.sampled_from(sorted(_sound())).flatmap(_damaged), elsewhere)


def _use(given: Files, folder: Path) -> object:
    (folder / _FOLDER).mkdir()
    for name, data in given.items():
        (folder / _FOLDER / name).write_bytes(data)
    with _store(folder).newest() as found:
        assert found is not None
        return train_state.restore(found.folder, _engine(), torch.Generator(), _ALONE, GuardSettings())


TARGET = Target("checkpoint", _inputs, _use, (UserError,))
