"""A small Objaverse on loopback: the real one's layout and schemas, and a server that can be told to misbehave."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tests.datagen.glb import moving_cube

FIRST = "datasets/allenai/objaverse/resolve/main"
XL = "datasets/allenai/objaverse-xl/resolve/main"


def annotation(uid: str, **changes: Any) -> dict[str, Any]:
    """Metadata of an object as Objaverse 1.0 publishes them, which is as Sketchfab's API answers."""
    return {
        "uri": f"https://api.sketchfab.com/v3/models/{uid}",
        "uid": uid,
        "name": f"Title of {uid}",
        "staffpickedAt": None,
        "viewCount": 4,
        "likeCount": 0,
        "animationCount": 1,
        "viewerUrl": f"https://sketchfab.com/3d-models/{uid}",
        "embedUrl": f"https://sketchfab.com/models/{uid}/embed",
        "commentCount": 0,
        "isDownloadable": True,
        "publishedAt": "2022-03-28T13:01:26.478165",
        "tags": [],
        "categories": [],
        "thumbnails": {"images": []},
        "user": {
            "uid": f"{uid}-user",
            "username": "ann",
            "displayName": "Ann Author",
            "profileUrl": "https://sketchfab.com/ann",
            "account": "basic",
        },
        "description": "",
        "faceCount": 12,
        "createdAt": "2022-03-28T12:58:16.454456",
        "vertexCount": 8,
        "isAgeRestricted": False,
        "archives": {"glb": {"textureCount": 0, "size": 1000, "type": "glb", "faceCount": 12, "vertexCount": 8}},
        "license": "by",
        **changes,
    }


def tag(name: str) -> dict[str, str]:
    slug = name.lower().replace(" ", "-")
    return {"name": name, "slug": slug, "uri": f"https://api.sketchfab.com/v3/tags/{slug}"}


@dataclass
class Mirror:
    """Files by address, and what the next answers for one should be instead: a list of faults, used up in order.

    A fault: a status as number, "truncate", "silence" (half, then nothing), "trickle" (a byte now and then),
    "other" (other bytes of the same length) or "slow" (whole, after 0.3 s).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int | str]] = field(default_factory=lambda: defaultdict(list))
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self, annotations: list[dict[str, Any]], glbs: dict[str, bytes], folders: int = 2) -> None:
        """Publish objects as Objaverse 1.0 does: paths, metadata and files in numbered folders."""
        paths, metadata = {}, defaultdict(dict)
        for i, entry in enumerate(annotations):
            folder = f"000-{i % folders:03d}"
            paths[entry["uid"]] = f"glbs/{folder}/{entry['uid']}.glb"
            metadata[folder][entry["uid"]] = entry
            if entry["uid"] in glbs:
                self.files[f"{FIRST}/{paths[entry['uid']]}"] = glbs[entry["uid"]]
        self.files[f"{FIRST}/object-paths.json.gz"] = gzip.compress(json.dumps(paths).encode())
        for folder, entries in metadata.items():
            self.files[f"{FIRST}/metadata/{folder}.json.gz"] = gzip.compress(json.dumps(entries).encode())

    def publish_lvis(self, categories: dict[str, list[str]]) -> None:
        self.files[f"{FIRST}/lvis-annotations.json.gz"] = gzip.compress(json.dumps(categories).encode())

    def publish_table(self, source: str, rows: list[dict[str, Any]]) -> None:
        """Publish annotations of a source as Objaverse-XL does; Sketchfab's have no column `metadata`."""
        columns = ["fileIdentifier", "source", "license", "fileType", "sha256"]
        columns += [] if source == "sketchfab" else ["metadata"]
        empty = dict.fromkeys(columns, "") | {"source": source, "fileType": "glb"}
        table = pa.Table.from_pylist([empty | row for row in rows], pa.schema([(c, pa.string()) for c in columns]))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        self.files[f"{XL}/{source}/{source}.parquet"] = sink.getvalue().to_pybytes()

    def address(self, uid: str) -> str:
        return next(name for name in self.files if name.endswith(f"/{uid}.glb"))


def glb_bytes(folder: Path, size_bytes: int = 0) -> bytes:
    """A small animated .glb, made longer by spaces in its JSON where asked."""
    data = moving_cube(folder / "made.glb").read_bytes()
    more = max(0, size_bytes - len(data)) // 4 * 4
    length = int.from_bytes(data[12:16], "little")
    parts = [data[:8], (len(data) + more).to_bytes(4, "little"), (length + more).to_bytes(4, "little"), data[16:20]]
    return b"".join([*parts, data[20 : 20 + length], b" " * more, data[20 + length :]])


def row(uid: str, data: bytes, licence: str = "Creative Commons - Attribution") -> dict[str, str]:
    """A Sketchfab object's row in XL's table."""
    identifier = f"https://sketchfab.com/3d-models/{uid}"
    return {"fileIdentifier": identifier, "license": licence, "sha256": hashlib.sha256(data).hexdigest()}


@contextlib.contextmanager
def serve(mirror: Mirror) -> Iterator[Mirror]:
    """Serve the mirror on loopback for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with mirror.lock:
                mirror.at_once += 1
                mirror.most_at_once = max(mirror.most_at_once, mirror.at_once)
                mirror.asked[self.path.lstrip("/")] += 1
            try:
                _answer(mirror, self)
            except OSError:  # the client has hung up, as it should
                self.close_connection = True
            finally:
                with mirror.lock:
                    mirror.at_once -= 1

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield mirror
    finally:
        mirror.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(mirror: Mirror, handler: BaseHTTPRequestHandler) -> None:
    path = handler.path.lstrip("/")
    with mirror.lock:
        queue = mirror.faults.get(path, [])
        fault = queue.pop(0) if queue else 200 if path in mirror.files else 404
    if isinstance(fault, int) and fault != 200:
        handler.send_response(fault)
        handler.send_header("Content-Length", "0")
        _send_more_headers(mirror, handler, path)
        return
    data = mirror.files[path]
    if fault == "slow":
        time.sleep(0.3)
    elif fault == "other":
        data = data[:-1] + bytes([data[-1] ^ 1])
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    _send_more_headers(mirror, handler, path)
    if fault in ("truncate", "silence", "trickle"):
        handler.close_connection = True
        handler.wfile.write(data[: len(data) // 2])
        handler.wfile.flush()
        if fault == "silence":
            mirror.closing.wait(30)
        while fault == "trickle" and not mirror.closing.wait(0.05):
            handler.wfile.write(b"\0")
            handler.wfile.flush()
    else:
        handler.wfile.write(data)


def _send_more_headers(mirror: Mirror, handler: BaseHTTPRequestHandler, path: str) -> None:
    for name, value in mirror.headers.get(path, {}).items():
        handler.send_header(name, value)
    handler.end_headers()
