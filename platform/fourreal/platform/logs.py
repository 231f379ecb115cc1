"""What is logged, and what it is about: plain lines for a person, or with FOURREAL_LOG=json one JSON object a line.

`with about(job="render", plan="3f2a", shard=7, sample="chair"):` puts these keys on every record of the block, in its
thread, whoever logs it; so one query finds all that happened to one sample of one plan.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

FORMAT_VARIABLE = "FOURREAL_LOG"
_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_subject: ContextVar[Mapping[str, str | int]] = ContextVar("subject", default=MappingProxyType({}))


@contextmanager
def about(**keys: str | int) -> Iterator[None]:
    """Name what is worked on for as long as the block lasts, beside what is named already."""
    token = _subject.set({**_subject.get(), **keys})
    try:
        yield
    finally:
        _subject.reset(token)


def configure() -> None:
    """Set up logging of this process; does nothing where somebody has."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if os.environ.get(FORMAT_VARIABLE) == "json" else logging.Formatter(_LINE))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time (UTC), level, logger, message, the keys of `about`, a traceback if there is."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        document = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_subject.get(),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)
