"""One shard on this machine's disk, read by key: no more than the members asked for comes into memory."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Collection
from typing import BinaryIO

from fourreal.platform.codec import FRAMES, META, EncodedGrid
from fourreal.platform.errors import UserError
from fourreal.platform.shards import ShardRecord, check_size, damaged, member_of


class ShardReader:
    """The grids of a shard in any order, frames still encoded.

    The file is held open, so it may be deleted meanwhile. Several threads may read at once. Raises UserError when
    the file is not as long as the record says, is damaged, or holds a member that grids do not have.
    """

    def __init__(
        self, stream: BinaryIO, record: ShardRecord, where: str, members: Collection[str] = (META, FRAMES)
    ) -> None:
        """`stream` is the shard's open file, which is duplicated; `where` is what to call the shard in messages."""
        self.where = where
        self._places: dict[str, dict[str, tuple[int, int]]] = {}
        check_size(os.fstat(stream.fileno()).st_size, record, where)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for entry in tar:
                    key, member = member_of(entry.name, where)
                    if member in members:
                        self._places.setdefault(key, {})[member] = (entry.offset_data, entry.size)
        except (tarfile.TarError, EOFError) as error:
            raise damaged(where, error) from None
        self._file = os.dup(stream.fileno())

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def grid(self, key: str) -> EncodedGrid:
        """The grid of this key with the members asked for. Raises UserError when the shard does not hold it."""
        if key not in self._places:
            raise UserError(f"{self.where} holds no grid {key!r} that its record names: make the shard again")
        members = {member: os.pread(self._file, size, offset) for member, (offset, size) in self._places[key].items()}
        return EncodedGrid(members, f"grid {key!r} of {self.where}")
