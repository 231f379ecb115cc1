"""What `--videos` names: files in folders and object stores, lists of them, members of WebDataset shards."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fourreal.datagen.videos import description
from fourreal.datagen.videos.description import Description, parse_description
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.platform.storage_errors import raise_storage_fault

SUFFIXES = frozenset([".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"])
MASK_ENDING = ".mask"
"""A video whose stem ends so is the mask of another; see `side_files`."""


class NotAFileError(Exception):
    """A pipe, a folder, a device: something that could hang whoever reads it."""


@dataclass(frozen=True)
class VideoSource:
    """A video: a file, or a part of one (a member of a tar)."""

    folder: str
    name: str
    """The file in the folder."""
    offset: int = 0
    size_bytes: int = -1
    """Of the part; -1 is the rest of the file."""
    member: str = ""
    """Name of the member of the tar."""
    caption: str = ""
    licence: str = ""
    attribution: Mapping[str, str] = field(default_factory=dict)
    """Title, author and url, where a file beside the video says them."""

    @property
    def address(self) -> str:
        """For people: path or s3:// address, with the member of the tar behind it."""
        path = Storage(self.folder).path(self.name)
        path = path if Storage(self.folder).is_local else f"s3://{path}"
        return f"{path}/{self.member}" if self.member else path

    @property
    def stem(self) -> str:
        """Name without folders and suffix."""
        return PurePosixPath(self.member or self.name).stem

    def spec(self) -> dict[str, Any]:
        """As JSON, for the plan."""
        return asdict(self)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> VideoSource:
        """The source whose `spec()` this is."""
        return cls(**{field.name: spec[field.name] for field in fields(cls)})

    def open(self) -> BinaryIO:
        """Open it for reading. Raises NotAFileError, OSError."""
        storage = Storage(self.folder)
        if storage.is_local:
            path = storage.path(self.name)
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise NotAFileError(f"{path} is no file")
            file: Any = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
        else:
            file = storage.open(self.name)
        if not self.offset and self.size_bytes < 0:
            return file  # type: ignore[no-any-return]
        return io.BufferedReader(_Part(file, self.offset, self.size_bytes))


class _Part(io.RawIOBase):
    """A range of bytes of an open file, as a file."""

    def __init__(self, file: BinaryIO, offset: int, size_bytes: int) -> None:
        self.file, self.offset, self.size_bytes, self.at = file, offset, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size_bytes}[whence]
        self.at = max(0, base + offset)
        return self.at

    def readinto(self, buffer: Any) -> int:
        self.file.seek(self.offset + self.at)
        data = self.file.read(max(0, min(len(buffer), self.size_bytes - self.at)))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()


def find_videos(videos: str) -> Iterator[VideoSource]:
    """All that `--videos` names, in a fixed order.

    A folder or s3:// prefix, searched to any depth for videos and tars; one tar or video; or a list (.txt) with a
    path or s3:// address a line, relative to its own folder. A path with a video's name that is no file is given
    too, so that it ends in quarantine instead of being passed over.
    Raises UserError when there is no video.
    """
    found = False
    for source in _find(videos):
        found = True
        yield source
    if not found:
        known = " ".join(sorted(SUFFIXES))
        raise UserError(
            f"there is no video in {videos}: give a folder, a list (.txt) or .tar shards; known are {known}"
        )


def _find(videos: str) -> Iterator[VideoSource]:
    suffix = PurePosixPath(videos).suffix.lower()
    storage, name = _split(videos)
    if suffix in {".txt", ".tar"} | SUFFIXES and storage.exists(name):
        if suffix == ".txt":
            yield from _listed(storage, name)
        else:
            yield from _named(storage, name)
        return
    storage = Storage(videos)
    yield from _found(storage, sorted(_walk(storage.root)) if storage.is_local else _names(storage))


def _split(address: str) -> tuple[Storage, str]:
    """Folder and name of a file."""
    folder, _, name = address.rstrip("/").rpartition("/")
    return Storage(folder or ("/" if address.startswith("/") else ".")), name


def _listed(storage: Storage, name: str) -> Iterator[VideoSource]:
    try:
        lines = storage.read(name).decode().splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{storage.path(name)} is no list of videos: it must be UTF-8, a path a line") from None
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#"):
            continue
        whole = line if line.startswith(("/", "s3://", "file://")) else f"{storage.uri.rstrip('/')}/{line}"
        yield from _named(*_one(whole))


def _one(address: str) -> tuple[Storage, str]:
    return _split(os.path.normpath(address) if "://" not in address else address)


def _walk(root: str) -> Iterator[str]:
    """Names below a local folder, relative to it; pipes and folders with a video's name are among them."""
    if not os.path.isdir(root):
        raise UserError(f"there is no folder {root}: --videos names a folder, a list (.txt), .tar shards or s3://")

    def complain(error: OSError) -> None:
        raise UserError(f"cannot search {error.filename}: {error.strerror}")

    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, onerror=complain, followlinks=True):
        subfolders[:] = [s for s in sorted(subfolders) if os.path.realpath(f"{folder}/{s}") not in seen]
        seen.update(os.path.realpath(f"{folder}/{s}") for s in subfolders)  # links may lead in circles
        odd = [s for s in subfolders if PurePosixPath(s).suffix.lower() in SUFFIXES]
        for name in [*files, *odd]:
            yield os.path.relpath(f"{folder}/{name}", root)


def _names(storage: Storage) -> list[str]:
    return [entry.path for entry in storage.list(recursive=True)]


def _named(storage: Storage, name: str) -> Iterator[VideoSource]:
    """A file that somebody named, whatever its suffix, or the members of a tar."""
    if PurePosixPath(name).suffix.lower() == ".tar":
        yield from _members(storage, name)
    else:
        sides = [side for side in _sides_of(name) if storage.exists(side)]
        yield _described(VideoSource(storage.uri, name), _beside(storage, sides))


def _found(storage: Storage, names: Iterable[str]) -> Iterator[VideoSource]:
    """Videos and members of tars among `names`, all that a folder holds, with what the files beside them say."""
    names = list(names)
    there = set(names)
    for name in names:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix == ".tar":
            yield from _members(storage, name)
        elif suffix in SUFFIXES and not _is_mask(name):
            sides = [side for side in _sides_of(name) if side in there]
            yield _described(VideoSource(storage.uri, name), _beside(storage, sides))


def _is_mask(name: str) -> bool:
    return PurePosixPath(name).stem.lower().endswith(MASK_ENDING)


def _described(source: VideoSource, said: Description) -> VideoSource:
    return replace(source, caption=said.caption, licence=said.licence, attribution=said.attribution)


def _sides_of(name: str) -> list[str]:
    """Names that the files which describe a video would have."""
    stem = name.removesuffix(PurePosixPath(name).suffix)
    return [f"{stem}{suffix}" for suffix in description.SUFFIXES]


def _beside(storage: Storage, sides: Iterable[str]) -> Description:
    """What these files say; a pipe, or a link that leads nowhere, says nothing."""
    said = Description()
    for side in sides:
        try:
            with VideoSource(storage.uri, side).open() as file:
                data = file.read(description.MOST_BYTES)
        except (OSError, NotAFileError) as error:
            raise_storage_fault(error)
        else:
            said = said.or_else(parse_description(side, data))
    return said


def _members(storage: Storage, name: str) -> Iterator[VideoSource]:
    """Videos in an uncompressed tar; `key.txt` and `key.json` describe `key.mp4`.

    Of a damaged tar those before the damage; that tar, or what is none (a pipe, say), is an item of its own too.
    """
    videos: list[tuple[str, tarfile.TarInfo]] = []
    sides: dict[str, Description] = {}
    whole = VideoSource(storage.uri, name)
    try:
        with whole.open() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for entry in tar:
                path = PurePosixPath(entry.name)
                key = str(path.parent / path.name.partition(".")[0])
                if not entry.isreg():
                    continue
                if path.suffix.lower() in SUFFIXES and not _is_mask(path.name):
                    videos.append((key, entry))
                elif path.suffix.lower() in description.SUFFIXES and (file_beside := tar.extractfile(entry)):
                    side = parse_description(path.name, file_beside.read(description.MOST_BYTES))
                    sides[key] = sides.get(key, Description()).or_else(side)
    except Exception as error:  # a damaged header makes `tarfile` raise anything
        raise_storage_fault(error)
        yield whole  # no video: its own item, so that it ends in quarantine
    for key, entry in videos:
        source = VideoSource(storage.uri, name, entry.offset_data, entry.size, entry.name)
        yield _described(source, sides.get(key, Description()))
