"""Keeps secrets out of what is written down for others to read: logs, run records, quarantine, jobs.

Two kinds are known. The *values* that this process was given: of each environment variable whose name speaks of a
secret, and passwords in the addresses of others. And the *shapes* that give a secret away: a password in an address, a
signed query, a header, `password=...`, and the tokens whose makers gave them a prefix so that they can be found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
_SHORTEST_VALUE = 8
"""A shorter value of a variable is not looked for: it would be found in words that have nothing to do with it."""

_WORD = (
    r"(?:password|passwd|passphrase|secret|token|credentials?|"
    r"(?:api|access|account|private|secret|session|signing)[_-]?key(?:[_-]?id)?)"
)
_NAME = re.compile(rf"{_WORD}$", re.I)
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/@\s:]*:([^/\s]+)@")
_SHAPES = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        # scheme://user:password@host, scheme://token@host
        r"(?P<kept>://)[^/\s\"'<>]+(?=@)",
        # of a signed address
        r"(?P<kept>[?&](?:x-amz-(?:signature|credential|security-token)|sig|signature|awsaccesskeyid)=)[^&\s\"'<>]+",
        r"(?P<kept>\b(?:bearer|basic)[ \t]+)[a-z0-9+/._~-]{16,}=*",
        # password=..., "aws_secret_access_key": "...", MLFLOW_TRACKING_TOKEN='...', --api-key ...
        rf"(?P<kept>(?<![a-z]){_WORD}[\"']?[ \t]*[:=][ \t]*)(?:\"[^\"]+\"|'[^']+'|[^\s,;&\"'}})\]]+)",
        rf"(?P<kept>--(?:[a-z0-9]+[-_.])*{_WORD}[ \t]+)[^\s-]\S*",
        r"(?P<kept>)\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"(?P<kept>)\b(?:hf_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|AIza)[a-z0-9_-]{16,}",
        r"(?P<kept>)\beyJ[a-z0-9_-]{8,}\.[a-z0-9_-]{8,}\.[a-z0-9_-]*",
        r"(?P<kept>-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?=-----END |\Z)",
    )
)


def redact(text: str) -> str:
    """The text with HIDDEN in the place of each secret that is known for one; what is left says as much as before."""
    for value in _values():
        text = text.replace(value, HIDDEN)
    for shape in _SHAPES:
        text = shape.sub(rf"\g<kept>{HIDDEN}", text)
    return text


def redact_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Flat fields as text: HIDDEN for each whose name speaks of a secret, `redact` of the others."""
    return {name: HIDDEN if value and is_secret(name) else redact(str(value)) for name, value in values.items()}


def is_secret(name: str) -> bool:
    """Whether what a variable, field or option of this name holds is to be kept from others."""
    return _NAME.search(name) is not None


def _values() -> list[str]:
    """The secrets in this process's environment, the longest first, as they are and as addresses hold them."""
    found: set[str] = set()
    for name, value in os.environ.items():
        found.update([value] if is_secret(name) else _PASSWORD_IN_ADDRESS.findall(value))
    long = [value for value in found if len(value) >= _SHORTEST_VALUE]
    return sorted({form for value in long for form in (value, quote(value, safe=""))}, key=len, reverse=True)
