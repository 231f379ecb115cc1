"""Where items go that could not become grids: one JSON record each, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from fourreal.platform.datajob.items import Item, ItemFailure
from fourreal.platform.errors import UserError
from fourreal.platform.redaction import redact
from fourreal.platform.storage import Storage

FOLDER = "quarantine"
_TAIL = 4000


@dataclass(frozen=True)
class QuarantineRecord:
    """Why an item is no grid."""

    key: str
    source: str
    stage: str
    reason: str
    message: str
    stderr_tail: str = ""
    attempts: int = 1
    sha256: str = ""
    """Of the source, where the plan knows it."""


_RECORD = TypeAdapter(QuarantineRecord)


def record_of(item: Item, failure: ItemFailure, attempts: int) -> QuarantineRecord:
    """The record of an item's last failure, without the secrets that its messages may hold."""
    return QuarantineRecord(
        key=item.key,
        source=redact(item.source),
        stage=failure.stage,
        reason=failure.reason,
        message=redact(failure.message),
        stderr_tail=redact(failure.stderr_tail)[-_TAIL:],
        attempts=attempts,
        sha256=str(item.spec.get("sha256", "")),
    )


def write_quarantine(storage: Storage, records: Iterable[QuarantineRecord]) -> None:
    """Write the records."""
    for record in records:
        storage.write(_name(record.key), json.dumps(asdict(record), indent=1).encode())


def keep_only(storage: Storage, keys: Iterable[str]) -> None:
    """Delete the records of all other items: of those that became grids after all."""
    kept = {_name(key) for key in keys}
    for entry in storage.list(FOLDER):
        if entry.path not in kept:
            storage.delete(entry.path)


def list_quarantine(storage: Storage) -> list[QuarantineRecord]:
    """All records, by key. Raises UserError for an unreadable one."""
    names = [entry.path for entry in storage.list(FOLDER) if entry.path.endswith(".json")]
    return [_parse(storage, name, data) for name, data in zip(names, storage.read_many(names), strict=True)]


def _parse(storage: Storage, name: str, data: bytes) -> QuarantineRecord:
    try:
        return _RECORD.validate_json(data)
    except ValidationError as error:
        raise UserError(f"{storage.path(name)} is no quarantine record: {error.errors()[0]['msg']}") from None


def _name(key: str) -> str:
    return f"{FOLDER}/{key}.json"
