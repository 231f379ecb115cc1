"""WebDataset shards of grids: written once with deterministic bytes, read without trust.

A folder of shards holds `shard-000000.tar` and, once the shard is whole, its index record
`shard-000000.json` (size, sha256, keys). A shard without its record does not exist.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from pydantic import TypeAdapter, ValidationError

from fourreal.platform import record_digest
from fourreal.platform.codec import MEMBERS, META, EncodedGrid
from fourreal.platform.documents import parse_object
from fourreal.platform.errors import UserError
from fourreal.platform.grid import SCHEMA_VERSION, check_key
from fourreal.platform.storage import Storage

Sample = Mapping[str, bytes]
"""Members of one sample by name, as `codec.encode` gives them."""


@dataclass(frozen=True)
class ShardRecord:
    """What the index record of a shard says."""

    index: int
    size_bytes: int
    sha256: str
    keys: tuple[str, ...]
    quarantined: tuple[str, ...] = ()
    """Keys of the plan's items that were set aside instead of being in the shard."""
    plan: str = ""
    """Fingerprint of the plan that the shard belongs to."""
    motion: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Motion statistics of the grids by key, so that a whole data set is surveyed without opening its shards."""
    shapes: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    """(V, T, H, W) of the grids by key; empty in records of before there were any."""
    freeze_time: tuple[str, ...] = ()
    """Keys of the grids of that kind."""
    licences: Mapping[str, int] = field(default_factory=dict)
    """How many of the grids name which licence ("unknown": none); empty in records of before they were counted."""
    schema_version: int = SCHEMA_VERSION

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.index)


_RECORD = TypeAdapter(ShardRecord)


def shard_name(index: int) -> str:
    """File name of a shard."""
    return f"shard-{index:06d}.tar"


def record_name(index: int) -> str:
    """File name of a shard's index record."""
    return f"shard-{index:06d}.json"


def write_shard(
    storage: Storage,
    index: int,
    samples: Iterable[tuple[str, Sample]],
    *,
    quarantined: Sequence[str] = (),
    plan: str = "",
) -> ShardRecord:
    """Write a shard and then its record; the bytes follow from the samples alone.

    The shard is put together in memory (tens to hundreds of MB), so that it appears whole or not at all.
    Raises ValueError for a key or member name that a shard may not have.
    """
    buffer = io.BytesIO()
    keys: list[str] = []
    metas: dict[str, Any] = {}
    with tarfile.open(fileobj=buffer, mode="w|") as tar:
        for key, members in samples:
            unknown = set(members) - MEMBERS
            if unknown or META not in members:
                raise ValueError(f"sample {key!r} has members {sorted(members)}; a shard holds {sorted(MEMBERS)}")
            for name in sorted(members):
                member = tarfile.TarInfo(f"{check_key(key)}.{name}")
                member.size, member.mode, member.mtime = len(members[name]), 0o644, 0.0
                member.uname = member.gname = "fourreal"
                tar.addfile(member, io.BytesIO(members[name]))
            keys.append(key)
            metas[key] = json.loads(members[META])
    if len(set(keys)) != len(keys):
        raise ValueError(f"shard {index} would hold a key twice: {sorted({k for k in keys if keys.count(k) > 1})}")
    data = buffer.getvalue()
    record = ShardRecord(
        index=index,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        keys=tuple(keys),
        quarantined=tuple(quarantined),
        plan=plan,
        motion={key: meta.get("motion", {}) for key, meta in metas.items()},
        shapes={key: meta["shape"] for key, meta in metas.items()},
        freeze_time=tuple(key for key, meta in metas.items() if meta.get("kind") == "freeze_time"),
        licences=dict(Counter(meta.get("licence") or "unknown" for meta in metas.values())),
    )
    storage.delete(record_name(index))  # of an earlier shard here: no record tells of other bytes than are there
    storage.write(record.name, data)
    storage.write(record_name(index), record_bytes(record))
    return record


def record_bytes(record: ShardRecord) -> bytes:
    """What the index record's file holds."""
    return json.dumps(asdict(record), indent=1, sort_keys=True).encode()


def read_record(storage: Storage, index: int) -> ShardRecord | None:
    """The record of a shard; None when the shard is not done."""
    if not storage.exists(record_name(index)):
        return None
    return _parse_record(storage, record_name(index), storage.read(record_name(index)))


def list_shards(storage: Storage) -> list[ShardRecord]:
    """Records of all the shards that are done, by index. Raises UserError for an unreadable or newer record."""
    return list(iterate_shards(storage))


def iterate_shards(storage: Storage) -> Iterator[ShardRecord]:
    """Like `list_shards`, one by one, for whoever keeps little of each."""
    for entry, data in record_digest.read_records(storage, is_record):
        yield _parse_record(storage, entry.path, data)


def is_record(path: str) -> bool:
    """Whether a file of this path is the index record of a shard."""
    return path.startswith("shard-") and path.endswith(".json")


def require_shards(storage: Storage) -> list[ShardRecord]:
    """Like `list_shards`, but a folder without any grid is a UserError."""
    records = list_shards(storage)
    if not any(record.keys for record in records):
        raise UserError(f"there is no grid in {storage.uri}: make some with `fourreal render` or `fourreal synthesize`")
    return records


def shards_sha256(records: Iterable[ShardRecord]) -> str:
    """Names a set of shards by content: sha256 over the sha256 of each, in order of their index."""
    lines = [f"{record.name} {record.sha256}\n" for record in sorted(records, key=lambda record: record.index)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_shard(storage: Storage, record: ShardRecord) -> Iterator[EncodedGrid]:
    """The grids of one shard in order, frames still encoded.

    Raises UserError when the shard is not as long as its record says, is damaged, or holds a member that grids
    do not have (such a member is never opened: a shard is data, not code).
    """
    where = f"{storage.uri.rstrip('/')}/{record.name}"
    check_size(storage.size_bytes(record.name), record, where)
    try:
        with storage.open(record.name) as stream:
            yield from _read_tar(stream, where)
    except (tarfile.TarError, EOFError) as error:
        raise damaged(where, error) from None


def read_grids(storage: Storage) -> Iterator[EncodedGrid]:
    """The grids of all done shards of a folder, in order."""
    for record in require_shards(storage):
        yield from read_shard(storage, record)


def read_grid(storage: Storage, key: str) -> EncodedGrid:
    """The grid of this key. Raises UserError when no shard of the folder holds it."""
    for record in require_shards(storage):
        if key in record.keys:
            return next(grid for grid in read_shard(storage, record) if grid.key == key)
    raise UserError(f"{storage.uri} holds no grid {key!r}: `fourreal inspect` lists what is there")


def _read_tar(stream: BinaryIO, where: str) -> Iterator[EncodedGrid]:
    # Where torch is installed, webdataset imports it: 180 MB and a second that workers who only write can do without.
    from webdataset.tariterators import group_by_keys, tar_file_expander

    files = tar_file_expander([{"url": where, "stream": stream}])
    for sample in group_by_keys(_only_known_members(files, where), keys=_split_name, lcase=False):
        key = sample.pop("__key__")
        sample.pop("__url__")
        yield EncodedGrid(sample, f"grid {key!r} of {where}")


def member_of(name: str, where: str) -> tuple[str, str]:
    """Key and member that a file in a shard is. Raises UserError for one that is no part of a grid."""
    key, member = _split_name(name)
    try:
        check_key(key)
    except ValueError:
        member = ""
    if member not in MEMBERS:
        raise UserError(f"{where} holds {name!r}, which is no part of a grid: it is refused")
    return key, member


def check_size(size_bytes: int | None, record: ShardRecord, where: str) -> None:
    """Raise UserError when a shard's file has another size than its record says."""
    if size_bytes != record.size_bytes:
        raise UserError(
            f"{where} has {size_bytes or 0} bytes where its record says {record.size_bytes}: "
            f"delete {record_name(record.index)} and run the job that made it again"
        )


def damaged(where: str, error: Exception) -> UserError:
    """What to say of a shard that is no whole tar."""
    return UserError(f"{where} is damaged ({error}): delete its record and run its job again")


def _split_name(name: str) -> tuple[str, str]:
    key, _, member = name.partition(".")
    return key, member


def _only_known_members(files: Iterable[dict[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    for file in files:
        if file:  # an empty one marks the end of the tar
            member_of(file["fname"], where)
        yield file


def _parse_record(storage: Storage, name: str, data: bytes) -> ShardRecord:
    where = f"{storage.uri.rstrip('/')}/{name}"
    try:
        document = parse_object(data)
        version = document["schema_version"]
    except (ValueError, KeyError) as error:
        raise UserError(f"{where} is no shard record ({error}): delete it and run the job that made it again") from None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(f"{where} has schema version {version}, this fourreal reads {SCHEMA_VERSION}: upgrade fourreal")
    try:
        return _RECORD.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{where} is no shard record ({place}: {first['msg']}): delete it, make the shard again"
        ) from None
