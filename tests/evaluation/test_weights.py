"""The store of published weights: what is refused and why, and downloads from a server on loopback."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fourreal.evaluation import weights as weights_command
from fourreal.evaluation.pretrained import REGISTRY, NoWeights, Weights, WeightsFile, WeightsStore
from fourreal.evaluation.pretrained.download import address, fetch
from fourreal.evaluation.pretrained.store import FOLDER_VARIABLE, LOCK
from fourreal.platform.errors import UserError

BODY = b"published weights" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


class _Server(BaseHTTPRequestHandler):
    """Answers by the last part of the path; `seen` counts the requests for each."""

    seen: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        name = self.path.strip("/").rpartition("/")[2]
        count = self.seen[name] = self.seen.get(name, 0) + 1
        if name == "gone":
            return self._answer(404, b"no")
        if name == "busy-twice" and count < 3:
            return self._answer(503, b"later")
        if name == "breaks-once" and count == 1:
            return self._answer(200, BODY[:100], {"Content-Length": str(len(BODY))})
        if name == "stated" and count == 1:
            return self._answer(200, b"x" + BODY[1:], {"X-Linked-Etag": f'"{SHA256}"'})
        return self._answer(
            200, b"other" if name == "other" else BODY, {"X-Linked-Etag": f'"{SHA256}"'} if name == "stated" else {}
        )

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    _Server.seen.clear()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def _registry(*files: WeightsFile) -> dict[str, Weights]:
    return {"net": Weights("net", "a network", "MIT", files)}


def _store(folder: Path | str, *files: WeightsFile) -> WeightsStore:
    return WeightsStore(str(folder), _registry(*files))


@pytest.mark.parametrize("name", ["plain", "busy-twice", "breaks-once", "stated"])
def test_a_file_comes_whole_whatever_the_server_does_first(name: str, server: str, tmp_path: Path) -> None:
    published = SHA256 if name == "plain" else ""
    store = _store(tmp_path, WeightsFile("w.pt", f"{server}/{name}", published))
    fetch(store, "net", wait_s=0.01)
    folder, digests = store.open("net")
    assert (folder / "w.pt").read_bytes() == BODY
    assert digests == {"w.pt": SHA256}
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, "w.pt"]
    before = dict(_Server.seen)
    fetch(store, "net", wait_s=0.01)
    assert _Server.seen == before  # what is there is not asked for again


@pytest.mark.parametrize(
    ("name", "published", "sentence"),
    [
        ("gone", "", "answers 404"),
        ("other", SHA256, "another file or a damaged one"),
        ("other", SHA256[:8], "its first digits"),
    ],
)
def test_what_is_not_the_published_file_does_not_arrive(
    name: str, published: str, sentence: str, server: str, tmp_path: Path
) -> None:
    store = _store(tmp_path, WeightsFile("w.pt", f"{server}/{name}", published))
    with pytest.raises(UserError, match=sentence):
        fetch(store, "net", wait_s=0.01)
    assert store.missing("net") == ["w.pt"]
    assert _Server.seen[name] == 1


def test_a_server_that_cannot_be_reached_is_told_after_all_attempts(tmp_path: Path) -> None:
    store = _store(tmp_path, WeightsFile("w.pt", "http://127.0.0.1:9/w.pt"))
    with pytest.raises(UserError, match=r"w\.pt did not come in 5 attempts"):
        fetch(store, "net", wait_s=0.001)


def test_a_file_nobody_published_a_hash_of_is_trusted_once(tmp_path: Path) -> None:
    store = _store(tmp_path, WeightsFile("a.txt", ""), WeightsFile("b.txt", ""))
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "a.txt").write_bytes(BODY)
    with pytest.raises(NoWeights, match=r"^b\.txt of the weights 'net' is not in .*`fourreal weights fetch net`"):
        store.open("net")
    (tmp_path / "net" / "b.txt").write_bytes(b"b")
    store.open("net")
    assert json.loads((tmp_path / "net" / LOCK).read_text())["a.txt"] == SHA256
    (tmp_path / "net" / "b.txt").write_bytes(b"changed")
    with pytest.raises(NoWeights, match=r"b\.txt .* at its first use it had 3e23e8160039"):
        store.open("net")
    (tmp_path / "net" / LOCK).write_text("[]")
    with pytest.raises(NoWeights, match="damaged"):
        store.open("net")


def test_weights_in_a_bucket_are_checked_and_copied_here(s3_bucket: str, tmp_path: Path) -> None:
    store = _store(f"{s3_bucket}/weights", WeightsFile("w.pt", "", SHA256))
    source = tmp_path / "source"
    source.write_bytes(BODY)
    assert store.put("net", WeightsFile("w.pt", "", SHA256), source) == SHA256
    folder, digests = _store(f"{s3_bucket}/weights", WeightsFile("w.pt", "", SHA256)).open("net")
    assert digests == {"w.pt": SHA256}
    assert store.storage("net").exists(LOCK)
    changed = _store(f"{s3_bucket}/weights", WeightsFile("w.pt", "", "0" * 64))
    with pytest.raises(NoWeights, match="published is 000000000000"):
        changed.open("net")


def test_the_hubs_mirror_is_used_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    url = REGISTRY["clip"].files[0].url
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert address(url) == url
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert address(url).startswith("https://mirror.example/openai/clip-vit-large-patch14/resolve/32bd6428")
    assert address("https://download.pytorch.org/x") == "https://download.pytorch.org/x"


def test_the_registry_names_every_file_with_its_source_and_licence() -> None:
    for name, weights in REGISTRY.items():
        assert weights.name == name
        assert weights.licence
        for file in weights.files:
            assert file.url.startswith("https://")
            assert not file.sha256 or int(file.sha256, 16) >= 0
            assert len(file.sha256) in (0, 8, 64)


def test_the_command_lists_fetches_and_verifies(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    lpips = REGISTRY["lpips"]
    files = tuple(dataclasses.replace(file, url=f"{server}/plain", sha256=SHA256) for file in lpips.files)
    monkeypatch.setitem(REGISTRY, "lpips", dataclasses.replace(lpips, files=files))  # type: ignore[arg-type]
    assert weights_command.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "lpips: missing alexnet-owt-7be5be79.pth, alex.pth" in listed
    assert "licence: MIT" in listed
    assert weights_command.main(["fetch", "lpips"]) == 0
    assert weights_command.main(["verify"]) == 0
    assert f"alex.pth sha256 {SHA256} (as published)" in capsys.readouterr().out
    (tmp_path / "lpips" / "alex.pth").write_bytes(b"damaged")
    assert weights_command.main(["verify", "lpips"]) == 1
    assert "REFUSED" in capsys.readouterr().out
    assert weights_command.main(["fetch"]) == 2
    assert weights_command.main(["verify", "vgg"]) == 2
    assert "there are no weights 'vgg': choose from inception, i3d, lpips, clip" in capsys.readouterr().err
