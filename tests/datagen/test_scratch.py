"""Folders for a moment: theirs who live stay, theirs who were killed go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fourreal.datagen.scratch import ScratchFolder, delete_abandoned


def test_what_the_killed_leave_is_deleted_by_the_next_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import sys, tempfile, time; tempfile.tempdir = sys.argv[1]\n"
        "from fourreal.datagen.scratch import ScratchFolder\n"
        "folder = ScratchFolder('test'); (folder.path / 'deep').mkdir(); (folder.path / 'deep' / 'file').touch()\n"
        "print(folder.path, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    theirs = Path(owner.stdout.readline().strip())
    mine = ScratchFolder("test")
    somebodys = tmp_path / "fourreal-scratch-notes"
    somebodys.mkdir()
    (somebodys / "notes.txt").touch()
    unfinished = tmp_path / "fourreal-scratch-test-unfinished"
    unfinished.mkdir()
    for old in (somebodys, unfinished):
        os.utime(old, (0, 0))
    (tmp_path / "fourreal-scratch-link").symlink_to(somebodys)
    other = ScratchFolder("test")
    assert (theirs / "deep" / "file").exists()
    assert not unfinished.exists()
    owner.kill()
    owner.wait()
    assert theirs.exists()
    ScratchFolder("test").close()
    assert not theirs.exists()
    assert mine.path.exists()
    other.close()
    assert not other.path.exists()
    assert (somebodys / "notes.txt").exists()
    assert (tmp_path / "fourreal-scratch-link").exists()


def test_a_folder_goes_with_its_process_however_it_was_used(tmp_path: Path) -> None:
    code = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from fourreal.datagen.scratch import ScratchFolder\n"
        "folder = ScratchFolder('test'); (folder.path / 'file').touch()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert not list(tmp_path.iterdir())
    delete_abandoned(tmp_path / "nowhere")
