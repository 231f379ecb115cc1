"""One attempt to download one file, which ends in time: with its bytes on disk, or with a reason."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import BinaryIO, Literal

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from fourreal.datagen.objaverse.settings import Downloads

Reason = Literal[
    "not_found",  # the server does not have it
    "http_error",  # another answer than the file, or none at all
    "timeout",  # no answer in time, or not done in time
    "stalled",  # came, then came no more, or too slowly
    "truncated",  # fewer bytes than announced
    "checksum",  # other bytes than published
    "not_glb",  # no binary glTF, and no published checksum that says it should be so
    "disk",  # cannot be written here
]

_PIECE_BYTES = 1 << 18
_SHA256 = re.compile(r'^"?([0-9a-f]{64})"?$')
_PASSING_STATUS = frozenset([408, 425, 429])


class DownloadFailure(Exception):
    """A file did not come; `passing` ones may succeed when tried again, after `wait_s` if the server says so."""

    def __init__(self, reason: Reason, message: str, *, passing: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.passing = passing
        self.wait_s = wait_s
        self.attempts = 1


@dataclass(frozen=True)
class Received:
    """What came."""

    size_bytes: int
    sha256: str
    published_sha256: str
    """As the server states it; "" when it does not."""


def receive(session: requests.Session, url: str, stream: BinaryIO, limits: Downloads) -> Received:
    """Download `url` into `stream`.

    Raises DownloadFailure, at the latest soon after `limits.timeout_s`, and OSError where `stream` takes no more.
    """
    deadline = time.monotonic() + limits.timeout_s
    timeout = (limits.connect_timeout_s, min(limits.read_timeout_s, limits.timeout_s))
    try:
        # Unencoded, so that the announced length is that of the file.
        response = session.get(url, stream=True, timeout=timeout, headers={"Accept-Encoding": "identity"})
    except requests.Timeout as error:
        raise DownloadFailure("timeout", f"{url} gives no answer: {error}", passing=True) from None
    except requests.ConnectionError as error:
        raise DownloadFailure("http_error", f"{url} cannot be reached: {error}", passing=True) from None
    except requests.RequestException as error:
        raise DownloadFailure("http_error", f"{url} cannot be asked for: {error}") from None
    with response:
        _check_status(response, url)
        size_bytes, sha256 = _receive_body(response, url, stream, limits, deadline)
    announced = response.headers.get("Content-Length")
    if announced is not None and announced.isdecimal() and int(announced) != size_bytes:
        raise DownloadFailure("truncated", f"{url} gave {size_bytes} of {announced} bytes", passing=True)
    return Received(size_bytes, sha256, _published_sha256(response))


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status == 200:
        return
    said = f"{url} answers {status} {response.reason}"
    if status in (404, 410):
        raise DownloadFailure("not_found", said)
    wait = response.headers.get("Retry-After", "")
    passing = status >= 500 or status in _PASSING_STATUS
    raise DownloadFailure("http_error", said, passing=passing, wait_s=float(wait) if wait.isdecimal() else 0.0)


def _receive_body(
    response: requests.Response, url: str, stream: BinaryIO, limits: Downloads, deadline: float
) -> tuple[int, str]:
    digest, size_bytes = hashlib.sha256(), 0
    window_end, window_bytes = time.monotonic() + limits.stall_window_s, 0
    while True:
        try:
            # read1 returns what is there: read would wait for a whole piece, which a trickle takes for ever to fill.
            piece = response.raw.read1(_PIECE_BYTES)
        except ReadTimeoutError:
            raise DownloadFailure("stalled", f"{url} fell silent after {size_bytes} bytes", passing=True) from None
        except HTTPError as error:
            said = f"{url} broke off after {size_bytes} bytes: {error}"
            raise DownloadFailure("truncated", said, passing=True) from None
        if not piece:
            return size_bytes, digest.hexdigest()
        stream.write(piece)
        digest.update(piece)
        size_bytes += len(piece)
        window_bytes += len(piece)
        now = time.monotonic()
        if now > deadline:
            said = f"{url} gave {size_bytes} bytes in {limits.timeout_s:g} s"
            raise DownloadFailure("timeout", f"{said}, and was not done", passing=True)
        if now > window_end:
            rate = window_bytes / (now - window_end + limits.stall_window_s)
            if rate < limits.min_bytes_per_s:
                raise DownloadFailure("stalled", f"{url} came at {rate:.0f} bytes a second", passing=True)
            window_end, window_bytes = now + limits.stall_window_s, 0


def _published_sha256(response: requests.Response) -> str:
    """Hugging Face states the sha256 of large files in the answer that leads to where they are stored."""
    for answer in (*response.history, response):
        match = _SHA256.match(answer.headers.get("X-Linked-Etag", ""))
        if match:
            return match[1]
    return ""
