"""Bring published weights into a store: whole, checked, or not at all."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import requests

from fourreal.evaluation.pretrained.registry import WeightsFile
from fourreal.evaluation.pretrained.store import NoWeights, WeightsStore, sha256
from fourreal.platform.errors import UserError

ATTEMPTS = 5
_TIMEOUTS_S = (20, 60)  # to connect, and between two pieces
_PIECE_BYTES = 1 << 20
_PASSING_STATUS = frozenset([408, 425, 429])
_SHA256 = re.compile(r'^"?([0-9a-f]{64})"?$')
_HUB = "https://huggingface.co/"


class _TryAgain(Exception):
    """This attempt failed; the next may not."""


def fetch(store: WeightsStore, name: str, *, wait_s: float = 2.0, tell: Callable[[str], object] = print) -> None:
    """Download what is missing of these weights; `wait_s` doubles from attempt to attempt.

    Raises UserError when a file cannot be had or is not the one published, or when the store cannot be written.
    """
    try:
        _bring(store, name, wait_s, tell)  # an index, where the weights have one, comes with these
        if store.missing(name):
            _bring(store, name, wait_s, tell)
    except NoWeights as error:
        raise UserError(str(error)) from None


def _bring(store: WeightsStore, name: str, wait_s: float, tell: Callable[[str], object]) -> None:
    missing = set(store.missing(name))
    storage = store.storage(name)
    if missing:
        storage.check_writable()
    for file in store.files(name):
        if file.name not in missing:
            tell(f"{file.name}: there already")
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file.name
            _download(file, path, wait_s)
            digest = store.put(name, file, path)
            tell(f"{file.name}: {path.stat().st_size / 1e6:.1f} MB, sha256 {digest}")


def address(url: str) -> str:
    """`url`, on the mirror of the Hugging Face hub that the environment names (HF_ENDPOINT)."""
    endpoint = os.environ.get("HF_ENDPOINT")
    return f"{endpoint.rstrip('/')}/{url.removeprefix(_HUB)}" if endpoint and url.startswith(_HUB) else url


def _download(file: WeightsFile, path: Path, wait_s: float) -> None:
    url = address(file.url)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with path.open("wb") as stream:
                stated = _receive(url, stream)
            if stated and sha256(path) != stated:
                raise _TryAgain(f"{url} gave other bytes than it says it holds")
            return
        except _TryAgain as error:
            if attempt == ATTEMPTS:
                raise UserError(f"{file.name} did not come in {ATTEMPTS} attempts: {error}") from None
        time.sleep(wait_s * 2 ** (attempt - 1))


def _receive(url: str, stream: BinaryIO) -> str:
    """Write the body to `stream` and return the sha256 that the server states for it, "" where it states none."""
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUTS_S, headers={"Accept-Encoding": "identity"}) as response:
            status = response.status_code
            if status >= 500 or status in _PASSING_STATUS:
                raise _TryAgain(f"{url} answers {status}")
            if status != 200:
                raise UserError(f"{url} answers {status} {response.reason}: it is not there any more, or not for all")
            for piece in response.iter_content(_PIECE_BYTES):  # urllib3 counts: fewer than announced is an error
                stream.write(piece)
            return _stated_sha256(response)
    except requests.RequestException as error:
        raise _TryAgain(f"{url} cannot be read: {error}") from None


def _stated_sha256(response: requests.Response) -> str:
    """The Hugging Face hub states it for large files, in the answer that leads to where they are stored."""
    for answer in (*response.history, response):
        if match := _SHA256.match(answer.headers.get("X-Linked-Etag", "")):
            return match[1]
    return ""
