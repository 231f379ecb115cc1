"""Checkpoints that are whole or not there: sums, pruning, damage, full disks, object stores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disks import files_limited_to

from fourreal.platform.storage import Storage
from fourreal.training.checkpoint.store import MANIFEST_FILE, CheckpointStore
from fourreal.training.settings.groups import CheckpointSettings
from fourreal.training.workers import ranks
from fourreal.training.workers.ranks import Worker
from fourreal.training.workers.stopping import Stopped

ALONE = Worker(0, 1)


def writer(value: int, size: int = 3000) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "engine").mkdir()
        torch.save(torch.full((size,), value), folder / "engine" / "weights.pt")
        (folder / "worker-0.json").write_text(json.dumps({"value": value}))

    return write


def newest(store: CheckpointStore) -> tuple[int, int, tuple[str, ...]] | None:
    with store.newest() as found:
        if found is None:
            return None
        weights = torch.load(found.folder / "engine" / "weights.pt", weights_only=True)
        assert json.loads((found.folder / "worker-0.json").read_text()) == {"value": int(weights[0])}
        return found.step, int(weights[0]), found.damaged


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path / "checkpoints"))
    return Storage(f"{request.getfixturevalue('s3_bucket')}/run/checkpoints")


def test_the_newest_ones_are_kept(storage: Storage) -> None:
    store = CheckpointStore(storage, CheckpointSettings(keep=2), ALONE)
    assert newest(store) is None
    for step in (10, 20, 30):
        assert store.save(step, writer(step)) is None
    assert store.steps() == [30, 20]
    assert newest(store) == (30, 30, ())
    assert {entry.path.split("/")[0] for entry in storage.list(recursive=True)} == {"step-00000020", "step-00000030"}
    assert store.save(30, writer(31)) is None  # again at the same step, after a rollback
    assert newest(store) == (30, 31, ())


def test_every_so_many_steps_one_is_kept_for_ever(storage: Storage) -> None:
    store = CheckpointStore(storage, CheckpointSettings(keep=1, keep_every=20), ALONE)
    for step in (10, 20, 30, 40, 50, 60, 70):
        assert store.save(step, writer(step)) is None
    assert store.steps() == [70, 60, 40, 20]


def test_all_workers_look_at_the_checkpoints_that_the_first_one_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may show one host a checkpoint later than the other."""
    store = CheckpointStore(Storage(str(tmp_path)), CheckpointSettings(keep=2), ALONE)
    for step in (10, 20):
        assert store.save(step, writer(step)) is None
    second = CheckpointStore(Storage(str(tmp_path)), CheckpointSettings(keep=2), Worker(1, 2))
    monkeypatch.setattr(second, "steps", lambda: [10])
    of_first: Iterator[object] = iter([[20, 10], None])  # what it lists; that its part of 20 is whole
    monkeypatch.setattr(ranks, "gather", lambda value, group: [next(of_first), value])
    assert newest(second) == (20, 20, ())


@pytest.mark.parametrize(
    "files", [{"../../outside": {"size_bytes": 0, "sha256": ""}}, {"/etc/passwd": {}}, [], {"a": None}, {"a": {"x": 1}}]
)
def test_a_manifest_of_somebody_else_is_no_way_out_of_the_folder(tmp_path: Path, files: object) -> None:
    store = CheckpointStore(Storage(str(tmp_path / "checkpoints")), CheckpointSettings(keep=3), ALONE)
    assert store.save(10, writer(10)) is None
    assert store.save(20, writer(20)) is None
    (tmp_path / "outside").touch()
    (tmp_path / "checkpoints/step-00000020" / MANIFEST_FILE).write_text(json.dumps({"files": files}))
    (tmp_path / "checkpoints/step-mine").mkdir()
    (tmp_path / "checkpoints/step-mine" / MANIFEST_FILE).write_text("{}")
    found = newest(store)
    assert found is not None
    assert found[:2] == (10, 10)


def test_a_damaged_checkpoint_is_passed_over(storage: Storage) -> None:
    store = CheckpointStore(storage, CheckpointSettings(keep=3), ALONE)
    for step in (10, 20, 30):
        store.save(step, writer(step))
    weights = "step-00000030/engine/weights.pt"
    whole = storage.read(weights)

    storage.write(weights, whole[: len(whole) // 2])
    found = newest(store)
    assert found is not None
    assert found[:2] == (20, 20)
    assert f"has {len(whole) // 2} bytes, not {len(whole)}" in found[2][0]

    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    storage.write(weights, bytes(flipped))
    assert newest(store) == (
        20, 20, ("the checkpoint at step 30 is damaged (engine/weights.pt does not match its sha256)",)
    )  # fmt: skip

    storage.write(weights, whole)
    assert newest(store) == (30, 30, ())

    storage.delete(weights)
    storage.write(f"step-00000020/{MANIFEST_FILE}", b"{")
    found = newest(store)
    assert found is not None
    assert found[0] == 10
    assert len(found[2]) == 2
    storage.delete("step-00000010/worker-0.json")
    with pytest.raises(Stopped, match=r"worker-0\.json is missing|engine/weights\.pt is missing"):
        newest(store)


def test_a_damaged_checkpoint_never_costs_a_whole_one_its_place(tmp_path: Path) -> None:
    store = CheckpointStore(Storage(str(tmp_path)), CheckpointSettings(keep=1), ALONE)
    store.save(20, writer(20))
    store.save(35, writer(35))
    (tmp_path / "step-00000035" / "worker-0.json").write_text("{}")
    store.save(30, writer(30))  # the run came back to 20, and its next checkpoint is before the damaged one
    assert newest(store) == (30, 30, ())
    assert store.steps() == [30]


def test_an_interrupted_checkpoint_is_none(storage: Storage) -> None:
    store = CheckpointStore(storage, CheckpointSettings(keep=2), ALONE)
    store.save(10, writer(10))
    store.save(20, writer(20))
    storage.delete(f"step-00000020/{MANIFEST_FILE}")  # written last, so this is what a kill leaves
    assert store.steps() == [10]
    assert newest(store) == (10, 10, ())
    store.save(30, writer(30))
    assert not storage.list("step-00000020", recursive=True)


def test_no_room_for_a_checkpoint_leaves_the_older_ones(tmp_path: Path) -> None:
    store = CheckpointStore(Storage(str(tmp_path)), CheckpointSettings(keep=1), ALONE)
    store.save(10, writer(10))
    with files_limited_to(100_000):
        problem = store.save(20, writer(20, size=100_000))
    assert problem
    assert "\n" not in problem
    assert newest(store) == (10, 10, ())
    assert not [path for path in (tmp_path / "step-00000020").rglob("*") if path.is_file()]
    assert store.save(30, writer(30, size=100_000)) is None  # there is room again
    assert store.steps() == [30]


def test_a_busy_object_store_is_asked_again(s3_bucket: str, s3_outage: Any) -> None:
    store = CheckpointStore(Storage(f"{s3_bucket}/run"), CheckpointSettings(keep=2), ALONE)
    s3_outage.refuses = lambda number: number % 3 == 1
    for step in (10, 20):
        assert store.save(step, writer(step)) is None
    assert newest(store) == (20, 20, ())
    assert s3_outage.refused > 5


def test_an_object_store_that_is_away_costs_one_checkpoint(
    s3_bucket: str, s3_outage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourreal.platform.storage._ATTEMPTS", 2)
    store = CheckpointStore(Storage(f"{s3_bucket}/run"), CheckpointSettings(keep=2), ALONE)
    assert store.save(10, writer(10)) is None
    s3_outage.refuses = lambda number: True
    problem = store.save(20, writer(20))
    assert problem is not None
    s3_outage.refuses = lambda number: False
    assert newest(store) == (10, 10, ())
    assert store.save(30, writer(30)) is None
    assert store.steps() == [30, 10]


def test_what_a_listing_does_not_show_yet_is_neither_damaged_nor_deleted(s3_bucket: str, s3_outage: Any) -> None:
    """Of an object store whose listings lag behind: what is new is there, but not listed."""
    store = CheckpointStore(Storage(f"{s3_bucket}/run"), CheckpointSettings(keep=1), ALONE)
    store.save(10, writer(10))
    s3_outage.unlisted_s, s3_outage.hides = 1e9, lambda path: "step-00000020" in path
    store.save(20, writer(20))
    assert newest(store) == (10, 10, ())  # the last that is listed: it may not make room yet
    s3_outage.hides = lambda path: "step-00000020/engine" in path  # the manifest is listed, not all that it names
    assert newest(store) == (20, 20, ())
    s3_outage.unlisted_s = 0.0
    assert store.steps() == [20, 10]
