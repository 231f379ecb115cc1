from __future__ import annotations

import errno
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path / "folder"))
    return Storage(request.getfixturevalue("s3_bucket") + "/folder")


def test_what_is_written_can_be_listed_read_and_deleted(storage: Storage) -> None:
    assert storage.list(recursive=True) == []
    assert storage.size_bytes("a") is None
    storage.write("b/deep/c", b"three")
    storage.write("a", b"x" * 20_000_000)  # more than one part of a multipart upload
    assert [(e.path, e.size_bytes) for e in storage.list(recursive=True)] == [("a", 20_000_000), ("b/deep/c", 5)]
    assert [e.path for e in storage.list()] == ["a"]
    assert [e.path for e in storage.list("b", recursive=True)] == ["b/deep/c"]
    assert storage.child("b").read("deep/c") == b"three"
    assert storage.size_bytes("a") == 20_000_000
    storage.write("a", b"new")
    assert storage.read("a") == b"new"
    storage.delete("a")
    storage.delete("a")
    assert not storage.exists("a")
    with pytest.raises(FileNotFoundError):
        storage.read("a")


def test_a_storage_travels_by_pickle(storage: Storage) -> None:
    storage.write("a", b"1")
    assert pickle.loads(pickle.dumps(storage)).read("a") == b"1"


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", ".."])
def test_names_cannot_leave_their_folder(storage: Storage, name: str) -> None:
    for act in (storage.read, storage.exists, storage.delete, storage.child, lambda n: storage.write(n, b"")):
        with pytest.raises(UserError, match="leaves its folder"):
            act(name)


@pytest.mark.parametrize("uri", ["gs://b/x", "http://x/y", "s3://", "s3:///"])
def test_addresses_of_other_kinds_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match=r"local folder|names no bucket"):
        Storage(uri)


def test_a_write_that_fails_leaves_the_old_bytes_and_no_rest(tmp_path: Path) -> None:
    """The disk is full: here, the process may not write files of more than 1 MB."""
    Storage(str(tmp_path)).write("a", b"old")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "from fourreal.platform.storage import Storage\n"
        "try: Storage(sys.argv[1]).write('a', b'x' * 2_000_000)\n"
        "except OSError as error: sys.exit(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert done.returncode == errno.EFBIG
    assert Storage(str(tmp_path)).read("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_place_that_cannot_be_written_is_found_out_early(tmp_path: Path, s3_bucket: str) -> None:
    (tmp_path / "file").write_text("")
    for uri in (f"{tmp_path}/file", f"{s3_bucket}-which-does-not-exist/x"):
        with pytest.raises(UserError, match="cannot write"):
            Storage(uri).check_writable()
    Storage(f"{s3_bucket}/x").check_writable()
    assert Storage(s3_bucket).list(recursive=True) == []
