"""What of a study is finished: one JSON record for each cell, written when the cell is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fourreal.evaluation.studies.config import Config
from fourreal.platform.config import as_document, as_yaml
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.platform.tracking import flatten

Record = dict[str, Any]

_SETTINGS_FILE = "settings.json"


class Ledger:
    """The records of a study's folder."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @classmethod
    def open(cls, config: Config) -> Ledger:
        """The ledger of the study's folder, begun if need be; UserError as by `look`."""
        storage = Storage(str(config.out))
        storage.check_writable()
        ledger = cls.look(config)
        storage.write(_SETTINGS_FILE, json.dumps(_decisive(as_document(config)), indent=1).encode())
        storage.write("config.yaml", as_yaml(config).encode())
        return ledger

    @classmethod
    def look(cls, config: Config) -> Ledger:
        """The ledger as it is; nothing is written. UserError when the folder holds a study with other settings."""
        storage = Storage(str(config.out))
        if storage.exists(_SETTINGS_FILE):
            _check_same(config, json.loads(storage.read(_SETTINGS_FILE)))
        return cls(storage.child("records"))

    def once(self, cell: str, work: Callable[[], Record]) -> Record:
        """The record of `cell`: of an earlier run, or what `work` returns, which is then written."""
        found = self.find(cell)
        return self.finish(cell, work()) if found is None else found

    def find(self, cell: str) -> Record | None:
        """The record of a finished cell; None where it is not finished."""
        name = f"{cell}.json"
        return json.loads(self._storage.read(name)) if self._storage.exists(name) else None

    def finish(self, cell: str, record: Record) -> Record:
        """Write the record of a cell that is whole, and return it."""
        self._storage.write(f"{cell}.json", json.dumps(record, allow_nan=False).encode())
        return record


def _decisive(document: Mapping[str, Any]) -> Record:
    """The settings that decide what is in the folder, as JSON has them, by their dotted names."""
    left_out = {*Config.NOT_DECIDING, "out"}
    decisive = {name: value for name, value in flatten(document).items() if name not in left_out}
    return dict(json.loads(json.dumps(decisive)))


def _check_same(config: Config, before: Mapping[str, Any]) -> None:
    new, old = _decisive(as_document(config)), _decisive(before)
    if changed := sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name)):
        name = changed[0]
        raise UserError(
            f"{config.out} holds a study with other settings ({name} was {old.get(name)}, is now {new.get(name)}): "
            f"choose another --out, or delete that folder"
        )
