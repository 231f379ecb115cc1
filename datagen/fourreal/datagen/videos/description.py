"""What lies beside a video: its caption, and under which terms it is whose."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

SUFFIXES = (".txt", ".json")
MOST_BYTES = 1 << 16
_CREDITS = ("title", "author", "url")


@dataclass(frozen=True)
class Description:
    """What the files beside a video say of it; nothing that is not stated is made up."""

    caption: str = ""
    licence: str = ""
    attribution: dict[str, str] = field(default_factory=dict)
    """Title, author, url; those that are known."""

    def or_else(self, other: Description) -> Description:
        """This, with what only the other one says."""
        return Description(
            self.caption or other.caption,
            self.licence or other.licence,
            {**other.attribution, **self.attribution},
        )


def parse_description(name: str, data: bytes) -> Description:
    """A .txt is a caption; a .json may say `caption`, `licence` (or `license`), `title`, `author` and `url`.

    What cannot be read says nothing.
    """
    text = data.decode(errors="replace").strip()
    if PurePosixPath(name).suffix.lower() != ".json":
        return Description(text)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):  # lists in lists, thousands deep
        return Description()
    if not isinstance(document, dict):
        return Description()
    credits = {key: _text(document.get(key)) for key in _CREDITS}
    return Description(
        _text(document.get("caption")),
        _text(document.get("licence")) or _text(document.get("license")),
        {key: value for key, value in credits.items() if value},
    )


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
