"""An S3 server on loopback (moto) that misbehaves as told: refuses, breaks off, stalls, lists late, expires keys."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Answer = tuple[str, list[tuple[str, str]], bytes]

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_MOST_SKEW_S = 15 * 60.0


@dataclass(frozen=True)
class Request:
    """What is asked of the store."""

    number: int
    """From 1, counted over all requests."""
    method: str
    path: str
    """Bucket and key."""
    query: dict[str, list[str]]

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a multipart upload."""
        return self.method == "PUT" and "partNumber" in self.query


class FaultyS3:
    """The server and its faults, which may be changed at any time. Each takes a request and says whether it strikes."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self.refuses: Callable[[int], bool] = lambda number: False
        """By number: answered with 503, as a busy store does."""
        self.forbids: Callable[[Request], bool] = _never
        """Answered with 403, as of an object that is not for these credentials."""
        self.resets: Callable[[Request], bool] = _never
        """The connection is reset in the middle of what is sent."""
        self.breaks_off: Callable[[Request], bool] = _never
        """The connection is closed in the middle of the answer."""
        self.loses_answer: Callable[[Request], bool] = _never
        """Done, and the connection is reset before the answer."""
        self.stalls_s: Callable[[Request], float] = lambda request: 0.0
        """The answer stands still in its middle for so long."""
        self.unlisted_s = 0.0
        """New objects are missing from listings for so long,"""
        self.hides: Callable[[str], bool] = lambda path: True
        """those whose path fits."""
        self.expired = False
        """Whether the credentials have expired."""
        self.clock_ahead_s = 0.0
        """Of the store's clock, before the clients'."""
        self.requests = self.refused = 0
        """Requests so far, and those that a fault has struck."""
        self._app = DomainDispatcherApplication(create_backend_app)
        self._born: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        with self._lock:
            self.requests += 1
            query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
            request = Request(self.requests, environ["REQUEST_METHOD"], unquote(environ["PATH_INFO"]), query)
        if self.resets(request):
            self._strike()
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
            _reset(environ)
        refusal = self._refusal(request, environ)
        if refusal:
            self._strike()
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, body = refusal or self._ask(request, environ)
        if not refusal and self.loses_answer(request):
            self._strike()
            _reset(environ)
        start_response(status, headers)
        return self._sent(request, environ, body)

    def _strike(self) -> None:
        with self._lock:
            self.refused += 1

    def _refusal(self, request: Request, environ: Environ) -> Answer | None:
        if self.refuses(request.number):
            return _error(request, "503 Slow Down", "SlowDown", "Please reduce your request rate.")
        if self.expired:
            return _error(request, "400 Bad Request", "ExpiredToken", "The provided token has expired.")
        if self.forbids(request):
            return _error(request, "403 Forbidden", "AccessDenied", "Access Denied")
        now_s = time.time() + self.clock_ahead_s
        signed = environ.get("HTTP_X_AMZ_DATE")
        if signed and abs(_seconds(signed) - now_s) > _MOST_SKEW_S:
            words = "The difference between the request time and the current time is too large."
            status, headers, body = _error(request, "403 Forbidden", "RequestTimeTooSkewed", words)
            date = format_datetime(datetime.fromtimestamp(now_s, UTC), usegmt=True)
            return status, [*headers, ("Date", date)], body
        return None

    def _ask(self, request: Request, environ: Environ) -> Answer:
        """Of the server itself, keeping a record of what is new."""
        answered: list[tuple[str, list[tuple[str, str]]]] = []
        chunks = self._app(environ, lambda status, headers, *_: answered.append((status, headers)))
        body = b"".join(chunks)
        [(status, headers)] = answered
        if status.startswith("2"):
            if (request.method == "PUT" and not request.is_part) or "uploadId" in request.query:
                self._born.setdefault(request.path, time.monotonic())
            elif request.method == "DELETE":
                self._born.pop(request.path, None)
            elif request.method == "GET" and ("list-type" in request.query or "prefix" in request.query):
                body = self._without_new(request.path, body)
                headers = [(n, str(len(body)) if n.lower() == "content-length" else v) for n, v in headers]
        return status, headers, body

    def _without_new(self, bucket: str, body: bytes) -> bytes:
        """A listing without the objects that are not listed yet, and without folders of nothing else."""
        if not self.unlisted_s:
            return body
        ElementTree.register_namespace("", _NAMESPACE)
        listing = ElementTree.fromstring(body)
        since = time.monotonic() - self.unlisted_s
        for kind, name in (("Contents", "Key"), ("CommonPrefixes", "Prefix")):
            for entry in listing.findall(f"{{{_NAMESPACE}}}{kind}"):
                path = f"{bucket.rstrip('/')}/{unquote(entry.findtext(f'{{{_NAMESPACE}}}{name}') or '')}"
                inside = [known for known in list(self._born) if known.startswith(path)]
                if inside and all(self._born[known] > since and self.hides(known) for known in inside):
                    listing.remove(entry)
                    self._strike()
        return ElementTree.tostring(listing, xml_declaration=True, encoding="UTF-8")

    def _sent(self, request: Request, environ: Environ, body: bytes) -> Iterator[bytes]:
        half = len(body) // 2
        if half and self.breaks_off(request):
            self._strike()
            yield body[:half]
            _reset(environ)
        elif half and (pause_s := self.stalls_s(request)):
            self._strike()
            yield body[:half]
            time.sleep(pause_s)
            yield body[half:]
        else:
            yield body


def _never(request: Request) -> bool:
    return False


def _error(request: Request, status: str, code: str, words: str) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>{words}</Message></Error>"
    body = f'<?xml version="1.0"?>{text}'.encode()
    if request.method == "HEAD":  # has no body, so the client knows the status alone
        return status, [("Content-Length", "0")], b""
    return status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], body


def _seconds(amz_date: str) -> float:
    return datetime.strptime(amz_date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _reset(environ: Environ) -> NoReturn:
    """Break the connection: what is closed without lingering is reset. The server is used to clients that do so."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


@contextmanager
def serving(store: FaultyS3, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve it, on loopback unless told otherwise; gives the address."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *args: Any) -> None:
            pass

    server = make_server(host, 0, store, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.port}"
    finally:
        server.shutdown()
        thread.join()
