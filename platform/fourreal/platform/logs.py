"""What is logged, and what it is about: plain lines for a person, or with FOURREAL_LOG=json one JSON object a line.

`with about(job="render", plan="3f2a", shard=7, sample="chair"):` puts these keys on every record of the block, in its
thread, whoever logs it; so one query finds all that happened to one sample of one plan. No secret is written that
`redaction` knows for one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType, TracebackType

from fourreal.platform.redaction import redact

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
    """Set up logging of this process, where nobody has, and how it reports the exception that ends it."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if os.environ.get(FORMAT_VARIABLE) == "json" else _LineFormatter(_LINE))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    sys.excepthook = _report_end


def _report_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(redact("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end="")


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time (UTC), level, logger, message, the keys of `about`, a traceback if there is."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        document = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            **_subject.get(),
        }
        if record.exc_info:
            document["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(document, default=str)
