"""Checkpoints that are written while training goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fourreal.platform.storage import Storage
from fourreal.training.checkpoint.snapshots import Snapshot, copied
from fourreal.training.checkpoint.store import CheckpointStore
from fourreal.training.checkpoint.writer import CheckpointWriter, Saved
from fourreal.training.settings.groups import CheckpointSettings
from fourreal.training.workers.ranks import Worker


class SlowStore(CheckpointStore):
    """Saves when it is let."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Storage(str(folder)), CheckpointSettings(keep=2), Worker(0, 1))
        self.let, self.entered = threading.Event(), threading.Event()

    def save(self, step: int, write: Callable[[Path], None]) -> str | None:
        self.entered.set()
        assert self.let.wait(60)
        return super().save(step, write)


def snapshot(value: float) -> Snapshot:
    return Snapshot({"part/weights.pt": {"w": torch.full((10,), value)}}, {"worker-0.json": {"value": value}})


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    store, saved = SlowStore(tmp_path), list[Saved]()
    writer = CheckpointWriter(store)
    writer.save(10, snapshot(1.0), saved.append)
    assert store.entered.wait(60)
    assert store.steps() == []  # here the loop takes its next steps
    second = threading.Thread(target=writer.save, args=(20, snapshot(2.0), saved.append))
    second.start()
    assert second.is_alive()  # one at a time
    store.let.set()
    second.join(60)
    writer.wait()
    assert store.steps() == [20, 10]
    assert [(entry.step, entry.problem) for entry in saved] == [(10, None), (20, None)]
    with store.newest() as found:
        assert found is not None
        assert torch.load(found.folder / "part/weights.pt", weights_only=True)["w"].tolist() == [2.0] * 10


def test_what_goes_wrong_in_the_thread_is_said(tmp_path: Path) -> None:
    store, saved = CheckpointStore(Storage(str(tmp_path)), CheckpointSettings(keep=2), Worker(0, 1)), list[Saved]()
    writer = CheckpointWriter(store)
    writer.save(10, Snapshot({}, {"no-such-folder/worker-0.json": 1}), saved.append)
    writer.wait()
    assert saved[0].problem is not None
    assert "no-such-folder" in saved[0].problem
    writer.save(20, Snapshot({}, {"worker-0.json": object()}), saved.append)  # a mistake of ours, not the storage's
    with pytest.raises(TypeError):
        writer.wait()
    writer.wait()


def test_a_copy_shares_nothing_and_keeps_no_more_than_is_meant() -> None:
    whole = torch.arange(1000.0, requires_grad=True)
    state = {"view": whole[:3], "nested": [(whole.detach()[5:6], 4), {"a": "b"}], "names": {1, 2}}
    copy = copied(state)
    with torch.no_grad():
        whole.zero_()
    state["nested"][1]["a"] = "changed"  # type: ignore[index]
    assert copy["view"].tolist() == [0, 1, 2]
    assert copy["view"].untyped_storage().nbytes() == 12
    assert not copy["view"].requires_grad
    assert copy["nested"] == [(torch.tensor([5.0]), 4), {"a": "b"}]
    assert copy["names"] == {1, 2}
