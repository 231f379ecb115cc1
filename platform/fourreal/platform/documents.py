"""JSON that somebody else may have written."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: bytes | str) -> Any:
    """The document. Raises ValueError alone, whatever is wrong with the text, nesting without end included."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_object(text: bytes | str) -> dict[str, Any]:
    """The same for a document that must be an object. Raises ValueError."""
    document = parse_json(text)
    if not isinstance(document, dict):
        raise ValueError(f"it is no object but a {type(document).__name__}")
    return document
