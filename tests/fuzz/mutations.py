"""Strategies that damage a valid file: its bytes, or a value somewhere in its document."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

INTERESTING_BYTES = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"/../",
]
INTERESTING_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, -(2**31), 2**63, 10**30, 1e308, 0.5, "", "0", "\0", "\ud800", "a" * 5000),
    *("../../outside/secret", "/etc/passwd", "file:///etc/passwd", "s3://nowhere/x", "${HOME}", "-1", "nan", "1e400"),
    *([], {}, [None], [[]], {"": None}, [0] * 5000, float("nan"), float("inf")),
]
DEEP = 20_000
"""Levels of nesting: more than Python's recursion allows."""


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes, most: int = 6) -> bytes:
    """`data` after up to `most` changes: bytes replaced, flipped, inserted, removed or copied, or its end cut off."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, most))):
        if not changed:
            break
        # The beginning is where headers are.
        limit = draw(st.sampled_from([min(64, len(changed)), len(changed)]))
        at = draw(st.integers(0, limit - 1))
        size = draw(st.integers(1, 16))
        kind = draw(st.sampled_from(["flip", "byte", "put", "insert", "remove", "copy", "cut"]))
        if kind == "flip":
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte":
            changed[at] = draw(st.integers(0, 255))
        elif kind == "put":
            value = draw(st.sampled_from(INTERESTING_BYTES))
            changed[at : at + len(value)] = value
        elif kind == "insert":
            changed[at:at] = draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(INTERESTING_BYTES)))
        elif kind == "remove":
            del changed[at : at + size]
        elif kind == "copy":
            source = draw(st.integers(0, len(changed) - 1))
            changed[at : at + size] = changed[source : source + size]
        else:
            del changed[at:]
    return bytes(changed)


def paths_of(document: Any, path: Path = ()) -> Iterator[Path]:
    """The places in a document, itself first."""
    yield path
    entries: Any = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in entries:
        yield from paths_of(value, (*path, name))


@st.composite
def damaged_document(draw: st.DrawFn, document: Any, more: Sequence[Any] = (), most: int = 4) -> Any:
    """A copy of plain data after up to `most` changes of its values, which are replaced (by `more` too) or moved."""
    changed = copy.deepcopy(document)
    values = [*INTERESTING_VALUES, *more]
    for _ in range(draw(st.integers(1, most))):
        places = [path for path in paths_of(changed) if path]
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = changed
        for step in way:
            holder = holder[step]
        kind = draw(st.sampled_from(["value", "value", "near", "other", "remove", "double", "rename"]))
        if kind == "value":
            holder[last] = copy.deepcopy(draw(st.sampled_from(values)))
        elif kind == "near" and isinstance(holder[last], int | float):
            holder[last] = holder[last] * draw(st.sampled_from([-1, 2, 1000])) + draw(st.integers(-2, 2))
        elif kind == "other":
            holder[last] = copy.deepcopy(_at(changed, draw(st.sampled_from(places))))
        elif kind == "remove":
            del holder[last]
        elif kind == "double" and isinstance(holder, list) and len(holder) < 1000:
            holder.append(copy.deepcopy(holder[last]))
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["", "x", "key", "uri", "shape", "__class__", "self"]))] = holder.pop(last)
    return changed


def damaged_json(document: Any, more: Sequence[Any] = ()) -> st.SearchStrategy[bytes]:
    """JSON of a damaged document, damaged JSON, or JSON that is nested too deeply."""
    text = json.dumps(document).encode()
    deep = st.sampled_from([b"[" * DEEP, b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP])
    return st.one_of(damaged_document(document, more).map(to_json), damaged_bytes(text), deep)


def to_json(document: Any) -> bytes:
    """Compact JSON, with what JSON does not have written as Python does."""
    return json.dumps(document).encode()


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document
