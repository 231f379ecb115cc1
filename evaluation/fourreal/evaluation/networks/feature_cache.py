"""What a network said of these pixels, kept on disk by content, so that nothing goes through a network twice.

A second model's evaluation finds the features of the references and of the baselines here and costs its own pass alone.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PREPARATION_VERSION = 1
"""Raised with every change of how frames reach a network: features kept under another version are not used."""

FOLDER_VARIABLE = "FOURREAL_FEATURES"
_DEFAULT = "~/.cache/fourreal/features"
_REMEMBERED = 256
"""Arrays kept in memory: one grid's, of all methods, for metrics that share a network."""

Array = npt.NDArray[Any]


def default_folder() -> Path:
    """Where features are kept unless another folder is named."""
    return Path(os.environ.get(FOLDER_VARIABLE) or _DEFAULT).expanduser()


def feature_key(
    network: str, weights: Mapping[str, str], device: str, arrays: Sequence[npt.NDArray[np.uint8]], text: str = ""
) -> str:
    """Names a network's answer: sha256 over its weights' sha256, how frames are prepared, the device, and the input."""
    digest = hashlib.sha256(f"{network} {sorted(weights.items())} {PREPARATION_VERSION} {device} {text!r}".encode())
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class FeatureCache:
    """Arrays by key: the latest in memory, all of them in a folder of this machine (None: in memory alone).

    Several processes may share the folder: a file appears whole or not at all, and one that cannot be read is made
    again. Anything in it may be deleted at any time.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.made = 0
        """How many answers were computed because they were not there."""
        self._latest: OrderedDict[str, Array] = OrderedDict()

    def get(self, key: str, make: Callable[[], Array]) -> Array:
        """The array of this key, or `make()`, which is then kept."""
        if key not in self._latest:
            found = self._read(key)
            if found is None:
                found = make()
                self.made += 1
                self._write(key, found)
            self._latest[key] = found
            while len(self._latest) > _REMEMBERED:
                self._latest.popitem(last=False)
        self._latest.move_to_end(key)
        return self._latest[key]

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / key[:2] / f"{key}.npy"

    def _read(self, key: str) -> Array | None:
        path = self._path(key)
        if path is None or not path.exists():
            return None
        try:
            array: Array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return array

    def _write(self, key: str, array: Array) -> None:
        path = self._path(key)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as stream:
            np.save(stream, array, allow_pickle=False)
        Path(stream.name).replace(path)
